"""What results depend on, as hashes: weights, examples, probe; rows of others are refused."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ablate2tune import files
from ablate2tune.contrasts.contrast import Contrast, contrasts_hash
from ablate2tune.errors import UserError
from ablate2tune.localize.margins.caption_losses import Levels
from ablate2tune.models import Studied

SCHEMA = "ablate2tune/identity/2"
PROBE = 1
"""Version of the margin probe: raised whenever the same inputs give other rows."""
RUNTIME = {"path", "device", "trust_remote_code", "guidance_scale"}
"""Keys of the recipe's model that no margin depends on."""


def model_hash(studied: Studied) -> str:
    """Hash of everything that a probe's figures depend on in a pipeline or a language model.

    That is every module's class, configuration and weights, and the recipe's image size, prompt
    length and dtype. A tensor on the meta device counts by its shape.
    """
    modules = studied.parts
    tensors = [
        (f"{name}.{key}", tensor)
        for name, module in modules.items()
        for key, tensor in (*module.named_parameters(), *module.named_buffers())
    ]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        hashes = list(pool.map(lambda pair: _tensor_hash(pair[1]), tensors))
    return files.content_hash(
        studied.config.model_dump(mode="json", exclude=RUNTIME),
        {name: [type(module).__name__, _config(module)] for name, module in modules.items()},
        [[name, found] for (name, _), found in zip(tensors, hashes, strict=True)],
    )


def _tensor_hash(tensor: Tensor) -> list[Any]:
    facts = [str(tensor.dtype), list(tensor.shape)]
    if tensor.is_meta:
        return facts
    plain = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
    return [*facts, hashlib.sha256(plain.numpy().data).hexdigest()]


def _config(module: nn.Module) -> dict[str, Any]:
    config: Any = getattr(module, "config", {})
    values = config.to_dict() if hasattr(config, "to_dict") else dict(config)
    return {key: value for key, value in values.items() if not key.startswith("_")}


def sweep_identity(
    model: str, measured: Sequence[Contrast], calibration: Sequence[Contrast], levels: Levels
) -> dict[str, Any]:
    """What the rows of a sweep depend on: the contents of `identity.json`.

    Args:
        model: from `model_hash`.
        measured: the examples that margins are measured on.
        calibration: the examples that means are taken from.
        levels: noise levels, draws and seed.
    """
    return {
        "schema": SCHEMA,
        "probe": PROBE,
        "model": model,
        "examples": contrasts_hash(measured),
        "calibration": contrasts_hash(calibration),
        "sigmas": list(levels.sigmas),
        "noises": levels.noises,
        "seed": levels.seed,
    }


def claim(folder: Path, identity: dict[str, Any], write: bool) -> None:
    """Take a results folder for one sweep, or go on in it.

    Args:
        folder: where the results are.
        identity: from `sweep_identity`.
        write: whether this process says whose folder it is.

    Raises:
        UserError: the folder holds rows of another model, other examples or another probe.
    """
    path, results = folder / "identity.json", folder / "results.jsonl"
    mend = "use another folder, or delete this one to start again"
    if path.exists():
        held = files.read_json(path)
        if held.get("schema") != identity["schema"]:
            raise UserError(
                "holds the results of another version of ablate2tune", where=str(folder), mend=mend
            )
        found = files.differences(held, identity)
        if found:
            raise UserError(
                f"holds the results of another sweep: {'; '.join(found[:3])}",
                where=str(folder),
                mend=mend,
            )
    elif results.exists():
        raise UserError(
            "nothing says which model and probe these rows are of", where=str(results), mend=mend
        )
    elif write:
        files.write_json(path, identity)
