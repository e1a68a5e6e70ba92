"""Blocks that keep no activations and are computed again in the backward pass, where memory asks.

Chen et al. 2016, arXiv:1604.06174, as torch.utils.checkpoint does it. Blocks before the first
adapted one have no backward pass: they are computed once, without a graph, whatever is asked for.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ablate2tune.train.memory.memory_estimate import MemoryEstimate

Checkpointing = Literal["auto", "on", "off"]
COVERED = "_ablate2tune_covered"
"""Marks a block's forward that is ours; what the block had in its place, its class's own: None."""


def cover(
    blocks: Sequence[nn.Module],
    wanted: Checkpointing,
    memory: Callable[[], MemoryEstimate],
    available: int | None,
) -> int:
    """Let blocks keep no activations: all, none, or as few as bring a step into the memory.

    What an earlier call covered is taken off first.

    Args:
        blocks: of the model, with its adapter on.
        wanted: "auto" covers none where the device does not say how much memory it has.
        memory: what a step holds as the blocks now are.
        available: bytes of the device.

    Returns:
        How many are covered.
    """
    for block in blocks:
        _uncover(block)
    if wanted == "on":
        return set_covered(blocks, len(blocks))
    if wanted == "off" or available is None or memory().total <= available:
        return 0
    low, high = 1, len(blocks)
    while low < high:
        middle = (low + high) // 2
        set_covered(blocks, middle)
        low, high = (low, middle) if memory().total <= available else (middle + 1, high)
    return set_covered(blocks, low)


def set_covered(blocks: Sequence[nn.Module], count: int) -> int:
    """Cover the last so many blocks alone: those have a backward pass in any case."""
    for place, block in enumerate(reversed(blocks)):
        _uncover(block)
        if place < count:
            _cover(block)
    return count


def covered_in(model: nn.Module) -> list[nn.Module]:
    """Its blocks that keep no activations."""
    return [m for m in model.modules() if hasattr(vars(m).get("forward"), COVERED)]


def _cover(block: nn.Module) -> None:
    inner = block.forward

    @functools.wraps(inner)
    def forward(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled() or not _has_backward(block, (*args, *kwargs.values())):
            return inner(*args, **kwargs)
        again = functools.partial(inner, **kwargs)
        return checkpoint(again, *args, use_reentrant=False, preserve_rng_state=False)

    setattr(forward, COVERED, vars(block).get("forward"))
    block.forward = forward


def _uncover(block: nn.Module) -> None:
    forward = vars(block).get("forward")
    if hasattr(forward, COVERED):
        del vars(block)["forward"]
        if (before := getattr(forward, COVERED)) is not None:
            block.forward = before


def _has_backward(block: nn.Module, given: Sequence[Any]) -> bool:
    tensors = (value for value in given if isinstance(value, Tensor))
    return any(t.requires_grad for t in tensors) or any(p.requires_grad for p in block.parameters())
