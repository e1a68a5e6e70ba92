"""AdamW with moments of 8 bits (Dettmers et al. 2022, arXiv:2110.02861), bitsandbytes'."""

from collections.abc import Iterable

import torch
from torch import nn

from ablate2tune.train.optimizers.optimizer_kind import OPTIMIZERS, OptimizerKind


def adamw_8bit(parameters: Iterable[nn.Parameter], rate: float) -> torch.optim.Optimizer:
    """Tensors of less than 4,096 numbers keep moments of 32 bits, as is usual there."""
    from bitsandbytes.optim import AdamW8bit  # pyright: ignore[reportMissingImports]

    return AdamW8bit(list(parameters), lr=rate, weight_decay=0.0)


OPTIMIZERS.add(
    "adamw8bit",
    OptimizerKind(adamw_8bit, tensors=1.5, package="bitsandbytes", devices=("cuda",)),
)
