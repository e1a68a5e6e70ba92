"""An adapter's matrices by module, without what is zero."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor

from ablate2tune.errors import UserError
from ablate2tune.models.adapter_files import PEFT_PREFIX
from ablate2tune.models.native_names import Native


class Pair(NamedTuple):
    """What is added to a module's weight: up @ down."""

    down: Tensor
    """(rank, in, ...)."""
    up: Tensor
    """(out, rank, ...)."""

    @property
    def rank(self) -> int:
        """Of the sum."""
        return len(self.down)


def read_pairs(path: Path, part: str) -> dict[str, Pair]:
    """The pairs of an adapter file by module, each of the rank that it needs.

    Raises:
        UserError: it holds something else than LoRA.
    """
    pattern = re.compile(rf"(?:{part}\.|{re.escape(PEFT_PREFIX)})(.+)\.lora_([AB])\.weight")
    found: dict[str, dict[str, Tensor]] = {}
    for key, tensor in sorted(load_file(path).items()):
        match = pattern.fullmatch(key)
        if match is None:
            raise UserError(
                f"{key} is no matrix of a LoRA",
                where=str(path),
                mend="export it as diffusers, or merge it",
            )
        found.setdefault(match[1], {})[match[2]] = tensor
    return {name: _needed(Pair(pair["A"], pair["B"])) for name, pair in found.items()}


def _needed(pair: Pair) -> Pair:
    """Without the rows and columns that add nothing; one is left in any case."""
    used = pair.down.flatten(1).any(1) & pair.up.transpose(0, 1).flatten(1).any(1)
    used[0] |= not used.any()
    return Pair(pair.down[used], pair.up[:, used].contiguous())


def joined(parts: Sequence[tuple[Native, Pair]]) -> Pair:
    """One pair for a layer that holds several modules: each in its own output channels.

    Args:
        parts: where each lies in the layer; all of one layer.
    """
    (first, pair), *others = parts
    if first.total is None:
        return pair
    up = pair.up.new_zeros(first.total, sum(one.rank for _, one in parts))
    column = 0
    for native, one in [(first, pair), *others]:
        rows = slice(native.first, native.first + len(one.up))
        up[rows, column : column + one.rank] = one.up
        column += one.rank
    return Pair(torch.cat([one.down for _, one in parts]), up)


def by_layer(pairs: Mapping[str, Pair], natives: Mapping[str, Native]) -> dict[str, Pair]:
    """The pairs by layers of the original code."""
    layers: dict[str, list[tuple[Native, Pair]]] = {}
    for name, pair in pairs.items():
        layers.setdefault(natives[name].name, []).append((natives[name], pair))
    return {layer: joined(parts) for layer, parts in layers.items()}
