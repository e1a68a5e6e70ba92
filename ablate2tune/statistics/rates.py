"""Rates over clusters with intervals, and paired differences between two arms."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from ablate2tune.statistics.resampling import Resampling

PERMUTATIONS = 10_000
Counts = tuple[np.ndarray, np.ndarray]
"""(hits, trials) of each cluster."""


@dataclass(frozen=True)
class Rate:
    """A rate with its confidence interval; all None where there is nothing to estimate."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    """Observations: images, or objects where the figure counts objects."""


@dataclass(frozen=True)
class Difference(Rate):
    """The later arm's rate minus the earlier one's, on the same clusters."""

    p: float | None
    """Two-sided, for no difference; not corrected for the number of figures."""


def cluster_counts(hits: np.ndarray, trials: np.ndarray, names: np.ndarray) -> Counts:
    """Hits and trials of examples, (n,) each, summed over clusters.

    >>> cluster_counts(np.array([1, 0, 1]), np.ones(3), np.array(["a", "a", "b"]))
    (array([1., 1.]), array([2., 1.]))
    """
    _, index = np.unique(names, return_inverse=True)
    hits, trials = (np.bincount(index, weights=np.asarray(x, float)) for x in (hits, trials))
    return hits, trials


def rate(hits: np.ndarray, trials: np.ndarray, how: Resampling) -> Rate:
    """The rate sum(hits) / sum(trials) over clusters, each (clusters,)."""
    n = int(trials.sum())
    if n == 0:
        return Rate(None, None, None, 0)
    value = float(hits.sum() / n)
    if value in (0.0, 1.0):
        return Rate(value, *how.exact_rate(value, int((trials > 0).sum())), n)
    weights = how.weights(len(trials))
    return Rate(value, *_bounds(ratio(weights @ hits, weights @ trials), how), n)


def difference(before: Counts, after: Counts, how: Resampling) -> Difference:
    """The difference of two rates on the same clusters."""
    totals = [int(trials.sum()) for _, trials in (before, after)]
    if 0 in totals:
        return Difference(None, None, None, min(totals), None)
    weights = how.weights(len(before[0]))
    resampled = [ratio(weights @ hits, weights @ trials) for hits, trials in (before, after)]
    value = float(after[0].sum() / totals[1] - before[0].sum() / totals[0])
    low, high = _bounds(resampled[1] - resampled[0], how)
    one_each = all((trials == 1).all() for _, trials in (before, after))
    p = mcnemar(before[0], after[0]) if one_each else exchange_p(before, after, how)
    return Difference(value, low, high, min(totals), p)


def mcnemar(before: np.ndarray, after: np.ndarray) -> float:
    """Exact two-sided McNemar test on paired yes/no outcomes, each (clusters,)."""
    gained, lost = int((after > before).sum()), int((after < before).sum())
    if gained + lost == 0:
        return 1.0
    return float(stats.binomtest(gained, gained + lost, 0.5).pvalue)


def exchange_p(before: Counts, after: Counts, how: Resampling) -> float:
    """Two-sided permutation test: before and after are exchanged, cluster by cluster.

    For equal trials this flips the signs of the clusters' differences.
    """
    hit_gain, trial_gain = after[0] - before[0], after[1] - before[1]

    def gap(exchanged: np.ndarray) -> np.ndarray:
        moved_hits, moved_trials = exchanged @ hit_gain, exchanged @ trial_gain
        late = ratio(after[0].sum() - moved_hits, after[1].sum() - moved_trials)
        early = ratio(before[0].sum() + moved_hits, before[1].sum() + moved_trials)
        return np.abs(late - early)

    return how.exchange_p(gap, 1e-12, len(hit_gain), PERMUTATIONS)


def ratio(hits: np.ndarray, trials: np.ndarray) -> np.ndarray:
    """hits / trials, nan where there is no trial."""
    return np.divide(hits, trials, out=np.full(np.shape(hits), np.nan), where=trials != 0)


def _bounds(resampled: np.ndarray, how: Resampling) -> tuple[float | None, float | None]:
    low, high = how.bounds(resampled)
    return (None, None) if np.isnan(low) else (low, high)
