"""Means over examples that come in clusters, with intervals and p-values."""

from collections.abc import Sequence
from typing import NamedTuple, TypedDict

import numpy as np

from ablate2tune.errors import UserError
from ablate2tune.statistics.regression_estimate import Carried
from ablate2tune.statistics.resampling import Resampling

SIGN_FLIPS = 20_000
"""Most sign patterns that a p-value counts: enough for one of 0.0002, which is what a correction
for the components of a model of 57 blocks leaves of 0.05."""


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
    clusters: int
    """Clusters that they come from."""
    slopes: int = 0
    """Slopes that were fitted to them."""


class Clusters:
    """Examples in clusters that are resampled whole, with the same draws for every figure."""

    def __init__(self, names: Sequence[str], how: Resampling):
        """Draw the resamples.

        Args:
            names: the cluster of each example.
            how: resamples, confidence and seed.

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
        resampled = self.resampled_means(values)
        return self.interval(Estimate(float(np.mean(values)), resampled, self.n, self.count))

    def accuracy(self, correct: np.ndarray) -> Interval:
        """A rate of correct answers, bool (n,), with its interval."""
        rate = float(np.mean(correct))
        if rate not in (0.0, 1.0):
            return within_a_rate(self.mean(correct.astype(float)))
        low, high = self.how.exact_rate(rate, self.count)
        return {"value": rate, "low": low, "high": high, "n": self.n}

    def ratio(self, values: np.ndarray, whole: np.ndarray, measured: np.ndarray) -> Interval:
        """The ratio of two means over the measured examples, resampled together."""
        part, base = (self.resampled_means(x, measured) for x in (values, whole))
        value = float(values[measured].mean() / whole[measured].mean())
        resampled, clusters = part / base, self.clusters_of(measured)
        return self.interval(Estimate(value, resampled, int(measured.sum()), clusters))

    def clusters_of(self, measured: np.ndarray) -> int:
        """How many clusters some examples, bool (n,), come from."""
        return len(np.unique(self._index[measured]))

    def estimated_mean(
        self, values: np.ndarray, measured: np.ndarray, carried: Carried | None = None
    ) -> Estimate:
        """The mean over all examples of a figure that only some of them have.

        Args:
            values: the figure, (n,); read where `measured`.
            measured: bool, (n,).
            carried: what cheap figures predict of it; nothing by default.
        """
        carried = carried or Carried(np.zeros(self.n))
        rest = np.where(measured, values - carried.values, 0.0)
        return Estimate(
            float(carried.values.mean() + rest[measured].mean()),
            self.resampled_means(carried.values) + self.resampled_means(rest, measured),
            int(measured.sum()),
            self.clusters_of(measured),
            carried.slopes,
        )

    def interval(self, estimate: Estimate) -> Interval:
        """An estimate with its percentile bounds, widened for few clusters."""
        value, wider = estimate.value, self.how.widening(estimate.clusters, estimate.slopes)
        low, high = (value + wider * (end - value) for end in self.how.bounds(estimate.resampled))
        return {"value": value, "low": low, "high": high, "n": estimate.n}

    def by_cluster(
        self, values: np.ndarray, measured: np.ndarray, carried: Carried | None = None
    ) -> np.ndarray:
        """What each cluster says of an estimated mean: (clusters,).

        Their mean is the estimate, and their variance, divided by how many clusters there are, its
        variance (the infinitesimal jackknife, Efron 1982, chapter 6): a cluster of more examples
        weighs more, and one that was not measured says only what cheap figures say.

        Args:
            values: the figure, (n,); read where `measured`.
            measured: bool, (n,).
            carried: what cheap figures predict of it; nothing by default.
        """
        carried = carried or Carried(np.zeros(self.n))
        rest = np.where(measured, values - carried.values, 0.0)
        mean = rest[measured].mean()
        own = self.sums(np.where(measured, rest - mean, 0.0)) / np.count_nonzero(measured)
        every = self.sums(carried.relative) / self.n
        return mean + carried.values.mean() + self.count * (own + every)

    def sign_flip_p(self, differences: np.ndarray) -> float:
        """Two-sided p for a mean difference of zero, by changing the sign of whole clusters.

        Args:
            differences: paired differences, (n,); nan where there is none.
        """
        return self.sign_flips([self.signed(differences)])[0]

    def signed(self, differences: np.ndarray, carried: Carried | None = None) -> np.ndarray:
        """What each cluster adds to a mean difference, up to a factor: the signs that are changed.

        Args:
            differences: paired differences, (n,); nan where there is none.
            carried: what cheap figures predict of them, which steadies their mean; clusters that
                were not measured add that part alone.
        """
        counted = np.isfinite(differences)
        if carried is None or not carried.slopes:
            return self.sums(np.where(counted, differences, 0.0))[self.sums(counted) > 0]
        clusters, rest = self.clusters_of(counted), differences - carried.relative
        mean = rest[counted].mean()
        # The fit has made the rest too small by the degrees of freedom that it took.
        wider = np.sqrt((clusters - 1) / max(1, clusters - 1 - carried.slopes))
        rest = np.where(counted, mean + wider * (rest - mean), 0.0)
        return self.sums(rest) + counted.mean() * self.sums(carried.relative)

    def sign_flips(self, signed: Sequence[np.ndarray]) -> list[float]:
        """Two-sided p of several mean differences, from what clusters add to each (`signed`)."""
        found = np.ones(len(signed))
        for clusters in {len(parts) for parts in signed}:
            where = [i for i, parts in enumerate(signed) if len(parts) == clusters]
            table = np.stack([signed[i] for i in where], axis=1)

            def statistic(patterns: np.ndarray, table: np.ndarray = table) -> np.ndarray:
                return np.abs((1.0 - 2.0 * patterns) @ table)

            tolerance = 1e-9 * np.abs(table).sum(0)
            found[where] = self.how.exchange_p(statistic, tolerance, clusters, SIGN_FLIPS)
        return found.tolist()


def within_a_rate(interval: Interval) -> Interval:
    """The interval of a rate, which lies in [0, 1]."""
    return {**interval, "low": max(0.0, interval["low"]), "high": min(1.0, interval["high"])}
