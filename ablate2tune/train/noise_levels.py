"""At which noise levels a flow is trained (Esser et al. 2024, arXiv:2403.03206)."""

import math
from itertools import pairwise
from statistics import NormalDist
from typing import Literal

import torch
from torch import Tensor

Density = Literal["flux_shift", "logit_normal", "uniform"]


def sample_sigmas(count: int, density: Density, shift: float, generator: torch.Generator) -> Tensor:
    """Noise levels to train at, (count,), float32 on the CPU.

    Densities: "uniform" on [0, 1); "logit_normal", sigmoid(N(0, 1)); "flux_shift", the same moved
    to s * sigma / (1 + (s - 1) * sigma) by the shift s, as FLUX's sampler moves its levels.
    """
    if density == "uniform":
        return torch.rand(count, generator=generator)
    sigma = torch.randn(count, generator=generator).sigmoid()
    if density == "logit_normal":
        return sigma
    return shift * sigma / (1 + (shift - 1) * sigma)


def bin_shares(bins: int, density: Density, shift: float) -> list[float]:
    """The shares of training's noise levels (`sample_sigmas`) in equal bins of [0, 1]."""

    def below(sigma: float) -> float:
        if density == "uniform" or sigma in (0, 1):
            return sigma
        if density == "flux_shift":
            sigma = sigma / (shift - (shift - 1) * sigma)
        return NormalDist().cdf(math.log(sigma / (1 - sigma)))

    edges = [below(i / bins) for i in range(bins + 1)]
    return [high - low for low, high in pairwise(edges)]
