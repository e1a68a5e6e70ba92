"""Linears whose weight is kept in few bits and is not trained.

What is multiplied is the weight in the base's own dtype, made anew in the forward and in the
backward pass. So nothing but the few bits is ever kept; torchao's weight-only layers leave a copy
of 16 bits to autograd for each layer of a graph, more than the model had before.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablate2tune.components.discovery import discover
from ablate2tune.models.quantised.small_weights import SMALL


class _Product(torch.autograd.Function):
    """x W^T + b, whose gradient is in x alone."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, numbers: Tensor, scales: Tensor, bias: Tensor | None, kind: str
    ) -> Tensor:
        ctx.save_for_backward(numbers, scales)
        ctx.kind = kind
        return F.linear(x, SMALL[kind].decode(numbers, scales), bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, None, None, None]:  # pyright: ignore
        numbers, scales = ctx.saved_tensors
        below = gradient @ SMALL[ctx.kind].decode(numbers, scales)
        return below if ctx.needs_input_grad[0] else None, None, None, None, None


class FrozenLinear(nn.Linear):
    """A Linear whose `weight` holds numbers of few bits."""

    kind: str
    """One of `SMALL`."""
    scales: Tensor

    @property
    def dtype(self) -> torch.dtype:
        """Of the weight that it stands for."""
        return self.scales.dtype

    @property
    def packed(self) -> int:
        """Weights that are more than the numbers that hold them."""
        return self.in_features * self.out_features - self.weight.numel()

    def forward(self, input: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs), in the dtype that it has."""
        return _Product.apply(input, self.weight, self.scales, self.bias, self.kind)  # pyright: ignore


@torch.no_grad()
def freeze(linear: nn.Linear, kind: str) -> None:
    """Store a Linear's weight in few bits, in its place and on its device."""
    numbers, scales = SMALL[kind].encode(linear.weight.data)
    linear.__class__ = FrozenLinear
    assert isinstance(linear, FrozenLinear)
    linear.kind = kind
    linear.weight = nn.Parameter(numbers, requires_grad=False)
    linear.register_buffer("scales", scales)


def freeze_blocks(
    model: nn.Module, source: nn.Module, kind: str, device: torch.device | None = None
) -> set[str]:
    """Store the weights of all Linears of a model's blocks in few bits, one after the other.

    Args:
        model: gets them.
        source: the same architecture, whose weights are taken; the model itself, or another whose
            weights are there where the model's are not.
        kind: one of `SMALL`.
        device: they are moved to; by default where the model's are.

    Returns:
        The names of these weights.
    """
    names = list(freezable(model, kind))
    for name in names:
        linear = model.get_submodule(name)
        assert isinstance(linear, nn.Linear)
        weight = source.get_parameter(f"{name}.weight").data
        linear.weight.data = weight.to(device or linear.weight.device)
        freeze(linear, kind)
    return {f"{name}.weight" for name in names}


def freezable(model: nn.Module, kind: str) -> Iterator[str]:
    """The Linears of a model's blocks, which hold nearly all of it."""
    for block in discover(model).blocks:
        for name, module in model.get_submodule(block.address).named_modules():
            if type(module) is nn.Linear and module.in_features % SMALL[kind].multiple == 0:
                yield f"{block.address}.{name}"


def packed_in(model: nn.Module) -> int:
    """Weights of a model that are more than the numbers that hold them."""
    return sum(module.packed for module in model.modules() if isinstance(module, FrozenLinear))
