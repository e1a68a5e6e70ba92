"""AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101), PyTorch's."""

from collections.abc import Iterable

import torch
from torch import nn

from ablate2tune.train.optimizers.optimizer_kind import OPTIMIZERS, USUAL, OptimizerKind


def adamw(parameters: Iterable[nn.Parameter], rate: float) -> torch.optim.AdamW:
    """In one kernel on CUDA, where that is faster."""
    held = list(parameters)
    fused = all(parameter.device.type == "cuda" for parameter in held) or None
    return torch.optim.AdamW(held, lr=rate, weight_decay=0.0, fused=fused)


OPTIMIZERS.add(USUAL, OptimizerKind(adamw, tensors=3))
