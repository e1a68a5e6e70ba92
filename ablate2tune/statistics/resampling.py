"""How intervals and p-values are drawn: whole clusters, every draw a function of the seed.

What belongs together (the pictures of one scene, the prompts of one pair of objects) is drawn
together: percentile bootstrap over clusters (Efron & Tibshirani 1993, chapter 13), and exchanges of
whole clusters in the permutation test.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import stats

from ablate2tune.seeding import numpy_generator

CHUNK = 500
"""Patterns of exchanged clusters that are drawn at once."""


def check_resamples(bootstrap: int, confidence: float) -> None:
    """Raises ValueError where so few resamples draw no interval of this confidence."""
    fewest = math.ceil(2 / (1 - confidence) - 1e-9)
    if bootstrap < fewest:
        raise ValueError(
            f"bootstrap = {bootstrap} draws no interval of confidence {confidence}: "
            f"each tail must hold a resample, so it must be {fewest} or more"
        )


@dataclass(frozen=True)
class Resampling:
    """The draws of one stage."""

    seed: int
    bootstrap: int
    """Resamples of the clusters."""
    confidence: float
    """Mass of the intervals, 0.95 for instance."""
    stage: str = ""
    """What the purposes of its seeds begin with."""

    def weights(self, clusters: int) -> np.ndarray:
        """How often each cluster is drawn in each resample, (bootstrap, clusters)."""
        return weights(self.seed, f"{self.stage}bootstrap", self.bootstrap, clusters)

    def bounds(self, resampled: np.ndarray) -> tuple[float, float]:
        """Percentile bounds; resamples without a value are left out, nan where none has one."""
        resampled = resampled[np.isfinite(resampled)]
        if not len(resampled):
            return np.nan, np.nan
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(resampled, [tail, 1 - tail])
        return float(low), float(high)

    def widening(self, clusters: int, slopes: int = 0) -> float:
        """By how much the percentile bounds of a mean over few clusters are too close to it.

        Resampling m clusters gives a variance that is too small by (m - 1) / m, and normal tails
        where a mean of few has Student's (Hesterberg 2015, "What teachers should know about the
        bootstrap", section 3.2; there the quantiles are moved instead of the bounds).

        Args:
            clusters: how many the mean is of.
            slopes: how many were fitted to them beside the mean.
        """
        free = max(1, clusters - 1 - slopes)
        tail = (1 + self.confidence) / 2
        return float(np.sqrt(clusters / free) * stats.t.ppf(tail, free) / stats.norm.ppf(tail))

    def exact_rate(self, rate: float, clusters: int) -> tuple[float, float]:
        """Bounds of a rate of 0 or 1, which has no spread to resample, with clusters as trials.

        The binomial interval of Clopper & Pearson (1934).
        """
        exact = stats.binomtest(int(rate) * clusters, clusters).proportion_ci(self.confidence)
        return float(exact.low), float(exact.high)

    def exchange_p(
        self,
        statistic: Callable[[np.ndarray], np.ndarray],
        tolerance: float | np.ndarray,
        clusters: int,
        most: int,
    ) -> Any:
        """Two-sided p of a statistic, or several, under exchanging two arms, cluster by cluster.

        All 2^clusters patterns are counted where they are no more than `most`; otherwise that many
        random ones, and the observed pattern counts as one of them.

        Args:
            statistic: from patterns, 1 where a cluster is exchanged, (patterns, clusters), to what
                is compared, (patterns,) or (patterns, statistics).
            tolerance: patterns that tie with the observed one but for it count as extreme, so that
                none is lost to the order of summation.
            clusters: how many there are.
            most: patterns.
        """
        threshold = statistic(np.zeros((1, clusters), dtype=int))[0] - tolerance
        extreme = sum(
            np.sum(statistic(patterns) >= threshold, axis=0)
            for patterns in self._patterns(clusters, most)
        )
        every = 2**clusters
        return extreme / every if every <= most else (1 + extreme) / (1 + most)

    def _patterns(self, clusters: int, most: int) -> Sequence[np.ndarray]:
        if 2**clusters <= most:
            return (every_pattern(clusters),)
        return drawn_patterns(self.seed, f"{self.stage}permutation", most, clusters)


@lru_cache(maxsize=4)
def every_pattern(clusters: int) -> np.ndarray:
    """All ways to exchange some of the clusters, int8 (2^clusters, clusters)."""
    numbers = np.arange(2**clusters)[:, None]
    return (numbers >> np.arange(clusters)[::-1] & 1).astype(np.int8)


@lru_cache(maxsize=4)
def drawn_patterns(seed: int, purpose: str, most: int, clusters: int) -> tuple[np.ndarray, ...]:
    """Random ways to exchange clusters, int8 (`CHUNK`, clusters) each, `most` in all."""
    draw = numpy_generator(seed, purpose, clusters)
    sizes = [min(CHUNK, most - start) for start in range(0, most, CHUNK)]
    return tuple(draw.integers(0, 2, (size, clusters)).astype(np.int8) for size in sizes)


@lru_cache(maxsize=8)
def weights(seed: int, purpose: str, resamples: int, clusters: int) -> np.ndarray:
    """How often each cluster is drawn in each resample, (resamples, clusters)."""
    even = np.full(clusters, 1 / clusters)
    return numpy_generator(seed, purpose, clusters).multinomial(clusters, even, size=resamples)


def corrected(p: list[float]) -> list[float]:
    """p-values with the false discovery rate controlled (Benjamini & Hochberg 1995)."""
    return [float(value) for value in stats.false_discovery_control(p)] if p else []
