"""A model's module tree as it is without adapters: PEFT's wrappers are looked through.

An adapter takes the place of a Linear and keeps that one inside. The place keeps its address: what
is hooked there is the Linear and its adapter together, and what is asked of it (its class, its
width, its parameters) is the Linear's.
"""

from collections.abc import Iterator
from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D

LINEARS = (nn.Linear, Conv1D)
"""A Linear, and GPT-2's of the same name in all but its weight, (in, out) instead of (out, in)."""


def is_language_model(model: nn.Module) -> bool:
    """Whether it is a causal language model of transformers: all its tokens are text."""
    return type(model).__name__.endswith(("ForCausalLM", "LMHeadModel"))


def widths(linear: nn.Module) -> tuple[int, int]:
    """What a Linear reads and what it writes: its columns in and out."""
    if isinstance(linear, Conv1D):
        return int(linear.nx), int(linear.nf)
    assert isinstance(linear, nn.Linear)
    return linear.in_features, linear.out_features


def without_adapter(module: nn.Module) -> nn.Module:
    """The module that PEFT wrapped, for a layer, a module saved whole or a model; else itself."""
    for name in ("get_base_model", "get_base_layer"):
        base: Any = getattr(module, name, None)
        if base is not None:
            return base()
    return getattr(module, "original_module", module)


def children(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """As `named_children`, without adapters."""
    for name, child in module.named_children():
        yield name, without_adapter(child)


def descendants(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """As `named_modules`, without adapters: the module itself comes first, under `path`."""
    seen: set[int] = set()
    waiting = [(path, without_adapter(module))]
    while waiting:
        name, part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        yield name, part
        below = [(f"{name}.{child}" if name else child, found) for child, found in children(part)]
        waiting += reversed(below)


def parameter_count(module: nn.Module) -> int:
    """Parameters in a module, those of adapters left out and shared ones counted once."""
    found = {
        id(parameter): parameter.numel()
        for _, part in descendants(module)
        for parameter in part.parameters(recurse=False)
    }
    return sum(found.values())
