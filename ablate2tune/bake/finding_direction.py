"""A direction of the residual stream that tells two sets of prompts apart.

Difference in means at the last token (Arditi et al. 2024, arXiv:2406.11717), at the layer where it
separates prompts that it was not made of best.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from ablate2tune import files
from ablate2tune.ablation import recorded
from ablate2tune.components import discover
from ablate2tune.disk.identity import identity
from ablate2tune.disk.new_folder import check_new
from ablate2tune.disk.user_rows import read_user_rows
from ablate2tune.errors import UserError
from ablate2tune.models import LanguageModel

SCHEMA = "ablate2tune/direction/1"
FEWEST = 4
"""Prompts of each set: half of them choose, half judge."""


class Direction(NamedTuple):
    """What was found."""

    vector: Tensor
    """(channels,), of length 1, from the second set to the first."""
    layer: str
    """Address of the block behind which the stream was read."""
    separation: dict[str, float]
    """By block: the difference of the judging halves' mean projections, in standard deviations."""


def find_direction(model: LanguageModel, one: Sequence[str], other: Sequence[str]) -> Direction:
    """The direction from the prompts of `other` to those of `one`.

    At each layer every second prompt gives a direction, and the others tell how far it separates
    the sets; the direction is then that of all prompts at the best layer.

    Raises:
        UserError: a set is too small, or no layer tells the two apart.
    """
    for name, prompts in (("--one", one), ("--other", other)):
        if len(set(prompts)) < FEWEST:
            raise UserError(
                f"{len(set(prompts))} different prompts are too few",
                where=name,
                mend=f"give {FEWEST} or more",
            )
    streams = [_last_tokens(model, prompts) for prompts in (one, other)]
    separation = {layer: _separation(streams[0][layer], streams[1][layer]) for layer in streams[0]}
    best = max(separation, key=lambda layer: separation[layer])
    difference = streams[0][best].mean(0) - streams[1][best].mean(0)
    norm = difference.norm()
    if not torch.isfinite(norm) or norm == 0 or separation[best] <= 0:
        raise UserError("no layer tells the two sets apart", where="--one, --other")
    return Direction(difference / norm, best, separation)


@torch.no_grad()
def _last_tokens(model: LanguageModel, prompts: Sequence[str]) -> dict[str, Tensor]:
    """The stream behind each block at the last token: (prompts, channels), float32, by block."""
    found: dict[str, list[Tensor]] = {}
    blocks = [block.address for block in discover(model.model).blocks]

    def keep(key: str, tensors: list[Tensor]) -> None:
        found.setdefault(key.partition(":")[0], []).append(tensors[0][0, -1].float().cpu())

    for prompt in prompts:
        with recorded(model.model, blocks, keep, states=True):
            model.logits(torch.tensor([model.encode(prompt)]))
    return {address: torch.stack(rows) for address, rows in found.items()}


def _separation(one: Tensor, other: Tensor) -> float:
    """Cohen's d of the judging halves along the choosing halves' difference of means."""
    v = one[::2].mean(0) - other[::2].mean(0)
    a, b = (one[1::2] @ v).numpy(), (other[1::2] @ v).numpy()
    spread = np.sqrt((a.var() + b.var()) / 2)
    return float((a.mean() - b.mean()) / max(spread, 1e-9 * float(np.abs(a).max()), 1e-12))


def read_prompts(path: Path) -> list[str]:
    """Prompts of a file: a line each, or the `prompt` of each line of a `.jsonl`.

    Raises:
        UserError: there is no such file, it cannot be read, or it holds none.
    """
    if path.suffix == ".jsonl":
        prompts = [row.text("prompt", 'write {"prompt": "..."}') for row in read_user_rows(path)]
    else:
        try:
            prompts = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot be read ({error})", where=str(path)) from error
    prompts = [prompt for prompt in prompts if prompt.strip()]
    if not prompts:
        raise UserError("holds no prompt", where=str(path))
    return prompts


def write_direction(
    found: Direction, model: LanguageModel, one: Path, other: Path, out: Path
) -> None:
    """Write the vector as safetensors, with where it came from in the file's metadata.

    Raises:
        UserError: the file is there already or cannot be written.
    """
    check_new(out, "file")
    sources = {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in (one, other)}
    facts = {
        "schema": SCHEMA,
        "model": model.config.path,
        "identity": identity(model.config.path),
        "layer": found.layer,
        "separation": json.dumps({k: round(v, 4) for k, v in found.separation.items()}),
        "prompts": json.dumps(sources),
    }
    files.write_bytes(out, save({found.layer: found.vector.contiguous()}, facts))
