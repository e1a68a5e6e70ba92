"""Loss against size as a power law, L = A N^-a: the exponent, in each block of a study.

With the four or five sizes of a study, a floor E in L = E + A N^-a (Hoffmann et al. 2022,
arXiv:2203.15556) cannot be told from none: it and the exponent make up for each other. So none is
fitted, and the exponent is that of these sizes alone.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ablate2tune.statistics.blocks import BlockMean, block_mean

LEAST = 4
"""Sizes below which nothing is fitted."""


class PowerLaw(NamedTuple):
    """A fit over the blocks of a study."""

    exponent: BlockMean
    """a, the mean of the blocks' own."""
    factor: float
    """A, the geometric mean of the blocks' own."""
    sizes: int


def fit_one(sizes: Sequence[float], losses: Sequence[float]) -> tuple[float, float]:
    """Exponent a and factor A by least squares on logarithms.

    >>> a, factor = fit_one([100, 10000], [1.0, 0.1])
    >>> round(a, 6), round(factor, 6)
    (0.5, 10.0)
    """
    slope, intercept = np.polyfit(np.log(sizes), np.log(losses), 1)
    return float(-slope), float(np.exp(intercept))


def fit_power_law(blocks: Sequence[Mapping[float, float]], confidence: float) -> PowerLaw | None:
    """The law over blocks, each a mapping of sizes to losses above zero.

    Returns:
        None where the blocks have fewer than `LEAST` sizes in common.
    """
    shared = sorted(set.intersection(*(set(block) for block in blocks))) if blocks else []
    if len(shared) < LEAST:
        return None
    fits = [fit_one(shared, [block[size] for size in shared]) for block in blocks]
    factor = float(np.exp(np.mean([np.log(factor) for _, factor in fits])))
    return PowerLaw(block_mean([a for a, _ in fits], confidence), factor, len(shared))
