"""Means over examples that come in clusters, with intervals and p-values."""

from collections.abc import Sequence
from typing import NamedTuple, TypedDict

import numpy as np

from ablate2tune.errors import UserError
from ablate2tune.statistics.resampling import Resampling


class Interval(TypedDict):
    """An estimate with its confidence interval, as in the result files."""

    value: float
    low: float
    high: float
    n: int
    """Observations (images)."""


class Estimate(NamedTuple):
    """A figure and its values in every resample of the clusters."""

    value: float
    resampled: np.ndarray
    """(resamples,)."""
    n: int
    """Observations that were measured."""


class Clusters:
    """Examples in clusters that are resampled whole, with the same draws for every figure."""

    def __init__(self, names: Sequence[str], how: Resampling):
        """Draw the resamples.

        Args:
            names: the cluster of each example.
            how: resamples (as many sign patterns in the permutation test), confidence and seed.

        Raises:
            UserError: there are fewer than two clusters, so that nothing can be resampled.
        """
        unique, self._index = np.unique(np.asarray(names), return_inverse=True)
        self.count, self.n, self.how = len(unique), len(names), how
        if self.count < 2:
            raise UserError(
                f"{self.count} group of examples, an interval needs at least 2",
                mend="measure more (localize.groups), or render more scenes",
            )
        self._weights = how.weights(self.count)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sums of `values`, (n,), over each cluster: (clusters,)."""
        return np.bincount(self._index, weights=values, minlength=self.count)

    def resampled_means(self, values: np.ndarray, measured: np.ndarray | None = None) -> np.ndarray:
        """Mean of `values`, (n,), in every resample of the clusters: (resamples,).

        Args:
            values: one figure per example.
            measured: which examples count, bool (n,); all by default. A resample without any gives
                nan.
        """
        counted = np.ones(self.n) if measured is None else measured.astype(float)
        sums = self.sums(np.where(counted > 0, values, 0.0))
        with np.errstate(invalid="ignore"):
            return self._weights @ sums / (self._weights @ self.sums(counted))

    def mean(self, values: np.ndarray) -> Interval:
        """The mean of `values`, (n,), with its interval."""
        return self.interval(Estimate(float(np.mean(values)), self.resampled_means(values), self.n))

    def accuracy(self, correct: np.ndarray) -> Interval:
        """A rate of correct answers, bool (n,), with its interval."""
        rate = float(np.mean(correct))
        if rate not in (0.0, 1.0):
            return self.mean(correct.astype(float))
        low, high = self.how.exact_rate(rate, self.count)
        return {"value": rate, "low": low, "high": high, "n": self.n}

    def ratio(self, values: np.ndarray, whole: np.ndarray, measured: np.ndarray) -> Interval:
        """The ratio of two means over the measured examples, resampled together."""
        part, base = (self.resampled_means(x, measured) for x in (values, whole))
        value = float(values[measured].mean() / whole[measured].mean())
        return self.interval(Estimate(value, part / base, int(measured.sum())))

    def estimated_mean(
        self, values: np.ndarray, measured: np.ndarray, carried: np.ndarray | None = None
    ) -> Estimate:
        """The mean over all examples of a figure that only some of them have.

        Args:
            values: the figure, (n,); read where `measured`.
            measured: bool, (n,).
            carried: what cheap figures predict of it, for all (`regression_estimate`); nothing by
                default.
        """
        carried = np.zeros(self.n) if carried is None else carried
        rest = np.where(measured, values - carried, 0.0)
        return Estimate(
            float(carried.mean() + rest[measured].mean()),
            self.resampled_means(carried) + self.resampled_means(rest, measured),
            int(measured.sum()),
        )

    def interval(self, estimate: Estimate) -> Interval:
        """An estimate with its percentile bounds."""
        low, high = self.how.bounds(estimate.resampled)
        return {"value": estimate.value, "low": low, "high": high, "n": estimate.n}

    def sign_flip_p(self, differences: np.ndarray) -> float:
        """Two-sided p for a mean difference of zero, by changing the sign of whole clusters.

        Args:
            differences: paired differences, (n,); nan where there is none.
        """
        counted = np.isfinite(differences)
        sums = self.sums(np.where(counted, differences, 0.0))[self.sums(counted) > 0]

        def statistic(patterns: np.ndarray) -> np.ndarray:
            return np.abs((1 - 2 * patterns) @ sums)

        tolerance = 1e-9 * float(np.abs(sums).sum())
        return self.how.exchange_p(statistic, tolerance, len(sums), self.how.bootstrap)
