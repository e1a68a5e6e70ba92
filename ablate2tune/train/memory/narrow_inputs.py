"""Adapters keep their inputs in the base's dtype for the backward pass.

PEFT casts what a layer is given to float32 before its A, and autograd keeps the cast: in a bfloat16
model twice the size of the input itself, once for every layer that shares it. Here the input is
kept as it came, and cast again in the backward pass; the cast is exact, so nothing else changes.
"""

from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from torch.nn import functional as F

from ablate2tune.models.adapter_files import NAME
from ablate2tune.models.quantised.frozen_linear import FrozenLinear


class _WidenedLinear(torch.autograd.Function):
    """x W^T, in W's dtype."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.linear(x.to(weight.dtype), weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:  # pyright: ignore
        x, weight = ctx.saved_tensors
        for_input, for_weight = ctx.needs_input_grad
        below = (gradient @ weight).to(x.dtype) if for_input else None
        wide = x.to(weight.dtype).flatten(0, -2)
        return below, gradient.flatten(0, -2).T @ wide if for_weight else None


class _Widens(nn.Linear):
    """A Linear that takes inputs of a smaller dtype than its weight's."""

    def forward(self, input: Tensor) -> Tensor:
        return _WidenedLinear.apply(input, self.weight)  # pyright: ignore


def keep_narrow(layer: LoraLayer) -> None:
    """Let a LoRA on a Linear of a smaller dtype keep its input as it comes.

    Nothing is done to variants (DoRA), which use their input in more than one place.
    """
    down, base = layer.lora_A[NAME], layer.get_base_layer()
    plain = type(down) is nn.Linear and isinstance(base, nn.Linear) and not layer.lora_variant
    own = base.dtype if isinstance(base, FrozenLinear) else base.weight.dtype
    if plain and own in (torch.bfloat16, torch.float16):
        down.__class__ = _Widens
        layer.cast_input_dtype_enabled = False
