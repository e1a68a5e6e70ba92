"""Intervals and p-values over contrast groups.

The images of a group share their objects, camera and light, so whole groups are resampled
(percentile bootstrap, Efron & Tibshirani 1993, chapter 13) and whole groups change sign in the
permutation test.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple, TypedDict

import numpy as np
from scipy import stats

from ablate2tune.errors import UserError
from ablate2tune.seeding import numpy_generator

CHUNK = 500
"""Sign patterns held in memory at once."""


class Interval(TypedDict):
    """An estimate with its confidence interval, as in the result files."""

    value: float
    low: float
    high: float
    n: int
    """Observations (images)."""


class Estimate(NamedTuple):
    """A figure and its values in every resample of the groups."""

    value: float
    resampled: np.ndarray
    """(resamples,)."""
    n: int
    """Observations that were measured."""


class Groups:
    """Resampling of whole groups, with the same draws for every figure."""

    def __init__(self, groups: Sequence[str], resamples: int, confidence: float, seed: int):
        """Draw the resamples.

        Args:
            groups: the group of each observation.
            resamples: bootstrap resamples, and sign patterns of the permutation test.
            confidence: mass of the intervals, 0.95 for instance.
            seed: of the draws.

        Raises:
            UserError: there are fewer than two groups, so that nothing can be resampled.
        """
        names, self._group = np.unique(np.asarray(groups), return_inverse=True)
        self.count, self.n = len(names), len(groups)
        if self.count < 2:
            raise UserError(
                f"{self.count} contrast group, an interval needs at least 2",
                where="localize.groups",
                mend="raise it or render more scenes",
            )
        self._resamples, self._confidence, self._seed = resamples, confidence, seed
        draw = numpy_generator(seed, "localize-bootstrap", self.count)
        even = np.full(self.count, 1 / self.count)
        self._weights = draw.multinomial(self.count, even, size=resamples)

    def resampled_means(self, values: np.ndarray, measured: np.ndarray | None = None) -> np.ndarray:
        """Mean of `values`, (n,), in every resample of the groups: (resamples,).

        Args:
            values: one figure per observation.
            measured: which observations count, bool (n,); all by default. A resample without any
                gives nan.
        """
        counted = np.ones(self.n) if measured is None else measured.astype(float)
        sums = self._sums(np.where(counted > 0, values, 0.0))
        with np.errstate(invalid="ignore"):
            return self._weights @ sums / (self._weights @ self._sums(counted))

    def bounds(self, resampled: np.ndarray) -> tuple[float, float]:
        """Percentile bounds of a figure's resampled values, (resamples,)."""
        tail = (1 - self._confidence) / 2
        low, high = np.nanquantile(resampled, [tail, 1 - tail])
        return float(low), float(high)

    def mean(self, values: np.ndarray) -> Interval:
        """The mean of `values`, (n,), with its interval."""
        low, high = self.bounds(self.resampled_means(values))
        return {"value": float(np.mean(values)), "low": low, "high": high, "n": self.n}

    def accuracy(self, correct: np.ndarray) -> Interval:
        """A rate of correct answers, bool (n,), with its interval.

        A rate of exactly 0 or 1 has no spread to resample; its interval is the exact binomial one
        (Clopper & Pearson 1934) with the groups as trials.
        """
        rate = float(np.mean(correct))
        if rate not in (0.0, 1.0):
            return self.mean(correct.astype(float))
        exact = stats.binomtest(int(rate) * self.count, self.count).proportion_ci(self._confidence)
        return {"value": rate, "low": float(exact.low), "high": float(exact.high), "n": self.n}

    def estimated_mean(
        self, values: np.ndarray, measured: np.ndarray, carried: np.ndarray
    ) -> "Estimate":
        """The mean over all observations of a figure that only some of them have.

        Args:
            values: the figure, (n,); read where `measured`.
            measured: bool, (n,).
            carried: what cheap figures predict of it, for all (`estimate.carried_over`).
        """
        rest = np.where(measured, values - carried, 0.0)
        return Estimate(
            float(carried.mean() + rest[measured].mean()),
            self.resampled_means(carried) + self.resampled_means(rest, measured),
            int(measured.sum()),
        )

    def interval(self, estimate: "Estimate") -> Interval:
        """An estimate with its percentile bounds."""
        low, high = self.bounds(estimate.resampled)
        return {"value": estimate.value, "low": low, "high": high, "n": estimate.n}

    def sign_flip_p(self, differences: np.ndarray) -> float:
        """Two-sided p for a mean difference of zero, by changing the sign of whole groups.

        All 2^groups patterns are counted where they are no more than the resamples; otherwise
        that many random ones, and the observed pattern counts as one of them.

        Args:
            differences: paired differences, (n,); nan where there is none.
        """
        counted = np.isfinite(differences)
        sums = self._sums(np.where(counted, differences, 0.0))[self._sums(counted) > 0]
        observed = abs(sums.sum())
        # Patterns that tie with the observed one must not be lost to the order of summation.
        threshold = observed - 1e-9 * np.abs(sums).sum()
        if 2 ** len(sums) <= self._resamples:
            patterns = np.array(list(itertools.product((-1, 1), repeat=len(sums))))
            return float(np.mean(np.abs(patterns @ sums) >= threshold))
        draw = numpy_generator(self._seed, "localize-permutation", len(sums))
        extreme = 1
        for start in range(0, self._resamples, CHUNK):
            rows = min(CHUNK, self._resamples - start)
            signs = draw.integers(0, 2, (rows, len(sums))) * 2 - 1
            extreme += int(np.sum(np.abs(signs @ sums) >= threshold))
        return extreme / (self._resamples + 1)

    def _sums(self, values: np.ndarray) -> np.ndarray:
        return np.bincount(self._group, weights=values, minlength=self.count)


def corrected(p: Sequence[float]) -> list[float]:
    """p-values with the false discovery rate controlled (Benjamini & Hochberg 1995)."""
    return [float(value) for value in stats.false_discovery_control(p)] if p else []
