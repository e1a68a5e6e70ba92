"""Adapters on some heads of an attention alone: `blocks.3.attn[heads=3,7]` among `train.modules`.

What is added to a weight is zero outside these heads: rows of q, k and v, columns of the
out-projection. The adapter begins with zeros there and a mask keeps their gradients zero, so that
AdamW, which decays nothing here, leaves them as they are.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from ablate2tune.components import Catalogue, Component, select
from ablate2tune.components.heads import Heads
from ablate2tune.components.selections import parse
from ablate2tune.errors import UserError
from ablate2tune.models.adapter_files import NAME
from ablate2tune.train.adapter import sides

HEADS = re.compile(r"(.+)\[heads=[\d.,: ]+\]")
"""An attention, perhaps a pattern, and numbers of its heads."""


class HeadSlice(NamedTuple):
    """The part of a module that an adapter may change."""

    side: Literal["A", "B"]
    """The matrix that is cut: A by its columns, the module's inputs; B by its rows, the outputs."""
    kept: tuple[int, ...]
    """Inputs or outputs."""


def attention_of(pattern: str) -> str | None:
    """The pattern of the attentions that heads are named of; None where none are."""
    match = HEADS.fullmatch(pattern)
    return match[1] if match else None


def head_slices(
    catalogue: Catalogue, model: nn.Module, patterns: Sequence[str]
) -> dict[str, HeadSlice]:
    """The slices of modules that patterns name by heads alone, by the modules' names.

    Raises:
        UserError: an attention has no such heads, or a module of it is not cut by heads.
    """
    wanted: dict[str, set[int]] = {}
    whole: set[str] = set()
    found: dict[str, HeadSlice] = {}
    for pattern in patterns:
        path = attention_of(pattern)
        chosen = select(catalogue, path or pattern)
        if path is None:
            whole |= {name for part in chosen for name in part.linears}
            continue
        for part in chosen:
            wanted.setdefault(part.address, set()).update(parse(pattern).indices)
            found |= dict(_slices(part, model, sorted(wanted[part.address])))
    return {name: piece for name, piece in found.items() if name not in whole}


@torch.no_grad()
def cut(model: nn.Module, slices: dict[str, HeadSlice]) -> None:
    """Keep the LoRA on these modules to their slices."""
    for name, piece in slices.items():
        parameter = model.get_parameter(f"{name}.lora_{piece.side}.{NAME}.weight")
        mask = torch.zeros_like(parameter)
        (mask if piece.side == "B" else mask.T)[list(piece.kept)] = 1
        parameter.mul_(mask)

        def masked(gradient: Tensor, mask: Tensor = mask) -> Tensor:
            return gradient * mask

        parameter.register_hook(masked)


def _slices(part: Component, model: nn.Module, heads: list[int]) -> Iterator[tuple[str, HeadSlice]]:
    found = part.heads
    if not isinstance(found, Heads):
        raise UserError(
            f"it has no heads to adapt{f': {found}' if found else ''}",
            where=part.address,
            mend="name an attention, or leave [heads=...] out",
        )
    if heads[-1] >= found.count:
        raise UserError(
            f"there is no head {heads[-1]}: it has {found.count}, counted from 0",
            where=f"train.modules: {part.address}",
        )
    entered = {site.address for site in found.sites if site.side == "input"}
    size = found.sites[0].width // found.count
    for name in part.linears:
        if name in entered:
            yield name, HeadSlice("A", _places(heads, size))
            continue
        own = sides(model, name)[1] // size  # fewer than query heads where several share a key
        if not own or sides(model, name)[1] % size or found.count % own:
            raise UserError(
                "its outputs are not those of heads one after the other",
                where=f"train.modules: {name}",
                mend="leave [heads=...] out",
            )
        shared = sorted({head * own // found.count for head in heads})
        yield name, HeadSlice("B", _places(shared, size))


def _places(heads: Sequence[int], size: int) -> tuple[int, ...]:
    return tuple(head * size + place for head in heads for place in range(size))
