"""Prodigy (Mishchenko & Defazio 2023, arXiv:2306.06101), which finds its learning rate itself.

prodigyopt's, with bias correction and its safeguard against a warm-up, as diffusers' scripts have
it.
"""

from collections.abc import Iterable

import torch
from torch import nn

from ablate2tune.train.optimizers.optimizer_kind import OPTIMIZERS, OptimizerKind


def prodigy(parameters: Iterable[nn.Parameter], rate: float) -> torch.optim.Optimizer:
    """The rate is a factor, and 1 by intention."""
    from prodigyopt import Prodigy  # pyright: ignore[reportMissingImports]

    return Prodigy(list(parameters), lr=rate, use_bias_correction=True, safeguard_warmup=True)


OPTIMIZERS.add("prodigy", OptimizerKind(prodigy, tensors=5, package="prodigyopt", least_rate=0.1))
