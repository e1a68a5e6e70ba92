"""At which noise levels a model is trained (Esser et al. 2024, arXiv:2403.03206).

What is drawn is a share of the schedule: of a flow the noise level itself, of a discrete schedule
the share of its timesteps (`Schedule.level_at`).
"""

import math
from collections.abc import Callable
from itertools import pairwise
from statistics import NormalDist
from typing import Literal

import torch
from torch import Tensor

Density = Literal["flux_shift", "logit_normal", "uniform"]


def sample_sigmas(
    count: int, density: Density, shift: float | Tensor, generator: torch.Generator
) -> Tensor:
    """Noise levels to train at, (count,), float32 on the CPU.

    Densities: "uniform" on [0, 1); "logit_normal", sigmoid(N(0, 1)); "flux_shift", the same moved
    to s * sigma / (1 + (s - 1) * sigma) by the shift s, as FLUX's sampler moves its levels, or by
    one for each, (count,).
    """
    if density == "uniform":
        return torch.rand(count, generator=generator)
    sigma = torch.randn(count, generator=generator).sigmoid()
    if density == "logit_normal":
        return sigma
    return shift * sigma / (1 + (shift - 1) * sigma)


def sample_high(
    sigma: Tensor, share: float, shift: float, which: torch.Generator, how_high: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw a share of the noise levels anew, at a high shift, where a caption decides the layout.

    Returns:
        The noise levels, and which are new, bool: (count,) both.
    """
    high = torch.rand(len(sigma), generator=which) < share
    return torch.where(high, sample_sigmas(len(sigma), "flux_shift", shift, how_high), sigma), high


def raised(sigma: Tensor, lowest: float) -> Tensor:
    """Levels of [0, 1] in the order and at the relative distances that they have, above a lowest.

    >>> raised(torch.tensor([0.0, 0.5, 1.0]), 0.5)
    tensor([0.5000, 0.7500, 1.0000])
    """
    return 1 - (1 - lowest) * (1 - sigma)  # 1 stays 1, exactly


def twin_levels(count: int, lowest: float, generator: torch.Generator) -> Tensor:
    """The levels of twins, (count,): half of them 1, the others evenly from a lowest on."""
    drawn = 2 * torch.rand(count, generator=generator)
    return torch.where(drawn < 1, lowest + (1 - lowest) * drawn, 1.0)


def bin_shares(
    bins: int,
    density: Density,
    shift: float,
    high: float = 0.0,
    high_shift: float = 1.0,
    time_of: Callable[[float], float] = float,
    lowest: float = 0.0,
) -> list[float]:
    """The shares of training's noise levels in equal bins of [0, 1].

    These are `sample_sigmas`'s, a share `high` of them drawn anew by `sample_high`, all `raised` to
    a `lowest`; `time_of` is the schedule's.
    """
    if high:
        usual, highest = (
            bin_shares(bins, density, shift, time_of=time_of, lowest=lowest),
            bin_shares(bins, "flux_shift", high_shift, time_of=time_of, lowest=lowest),
        )
        return [(1 - high) * a + high * b for a, b in zip(usual, highest, strict=True)]

    def below(sigma: float) -> float:
        sigma = max(0.0, (sigma - lowest) / (1 - lowest))
        if density == "uniform" or sigma in (0, 1):
            return sigma
        if density == "flux_shift":
            sigma = sigma / (shift - (shift - 1) * sigma)
        return NormalDist().cdf(math.log(sigma / (1 - sigma)))

    edges = [0.0, *(below(time_of(i / bins)) for i in range(1, bins)), 1.0]
    return [high - low for low, high in pairwise(edges)]
