"""Settings that were run with several seeds, the seeds as blocks: intervals and paired tests."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from ablate2tune.seeding import numpy_generator

MOST = 100_000
"""Exchanges that are counted one by one; where there are more, so many random ones are drawn."""


class BlockMean(NamedTuple):
    """A mean over blocks."""

    value: float
    low: float | None
    """None for a single block, of which nothing can be said."""
    high: float | None
    n: int
    """Blocks."""
    p: float | None
    """Two-sided, for a mean of zero, by Student's t."""


def block_mean(values: Sequence[float], confidence: float) -> BlockMean:
    """The mean of one figure per block, with Student's interval.

    With three blocks a bootstrap knows ten means; t with two degrees of freedom says how little
    that is.
    """
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return BlockMean(mean, None, None, n, None)
    spread = float(np.std(values, ddof=1)) / math.sqrt(n)
    if spread == 0:
        return BlockMean(mean, mean, mean, n, float(mean == 0))
    reach = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * spread
    p = float(2 * stats.t.sf(abs(mean) / spread, n - 1))
    return BlockMean(mean, mean - reach, mean + reach, n, p)


def exchange_p(
    treated: Sequence[float], controls: Sequence[Sequence[float]], seed: int
) -> float | None:
    """Two-sided p that in each block the treated figure is one of the controls.

    If the treated run is no other than the control runs of its block, each of them could have been
    it. The statistic is the sum over blocks of the treated figure's distance from the mean of the
    others; p is the share of all choices, one run of each block, with a sum at least as far from
    zero. Three blocks of five controls have 216 choices, so the least p is 1/216.

    Args:
        treated: one figure per block.
        controls: the controls' figures in each block.
        seed: of the random choices where there are too many to count.

    Returns:
        None where no block has a control.
    """
    distances = []
    for figure, others in zip(treated, controls, strict=True):
        if not others:
            continue
        held = np.array([figure, *others])
        distances.append(held - (held.sum() - held) / len(others))
    if not distances:
        return None
    observed = abs(sum(float(block[0]) for block in distances))
    tolerance = 1e-9 * sum(float(np.abs(block).max()) for block in distances)
    choices = math.prod(len(block) for block in distances)
    if choices <= MOST:
        sums = np.zeros(1)
        for block in distances:
            sums = (sums[:, None] + block[None, :]).ravel()
        return float(np.mean(np.abs(sums) >= observed - tolerance))
    draw = numpy_generator(seed, "study exchange")
    sums = np.zeros(MOST)
    for block in distances:
        sums += block[draw.integers(0, len(block), MOST)]
    return float((1 + np.sum(np.abs(sums) >= observed - tolerance)) / (1 + MOST))
