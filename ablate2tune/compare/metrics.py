"""Scores with intervals: rates over prompts, and paired differences between two arms.

Images of one prompt are not independent, so whole prompts are resampled (percentile bootstrap,
Efron & Tibshirani 1993, chapter 13) and whole prompts are exchanged in the permutation test.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar

import numpy as np
from scipy import stats

from ablate2tune.seeding import numpy_generator

PERMUTATIONS = 10_000
CHUNK = 1000
"""Permutations held in memory at once."""
T = TypeVar("T")


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval; all None where there is nothing to estimate."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    """Observations: images, or objects where the figure counts objects."""

    def as_dict(self) -> dict[str, Any]:
        """As in the result files."""
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}


@dataclass(frozen=True)
class Difference(Interval):
    """After minus before, on the same prompts and seeds."""

    p: float | None
    """Two-sided, for no difference; not corrected for the number of figures."""

    def as_dict(self) -> dict[str, Any]:
        """As in the result files."""
        return {**super().as_dict(), "p": self.p}


@dataclass(frozen=True)
class Figures(Generic[T]):
    """The figures of one arm (`Interval`) or of the difference of two (`Difference`)."""

    spatial: T
    """Images that show both objects in the prompt's relation."""
    spatial_strict: T
    """Images that show this and nothing else: no duplicate, no other object."""
    relation_given_objects: T
    """Images in the prompt's relation among those that show both objects."""
    objects: T
    """Images that show both objects in their colours."""
    extra: T
    """Images that show more than the two objects."""
    forgetting: T
    """Images that show both objects, on prompts without a relation."""
    per_relation: dict[str, T]
    """`spatial` by relation."""

    def as_dict(self) -> dict[str, Any]:
        """As in the result files."""
        return {
            name: {key: v.as_dict() for key, v in value.items()}  # type: ignore[union-attr]
            if isinstance(value, dict)
            else value.as_dict()
            for name, value in vars(self).items()
        }


@dataclass(frozen=True)
class Outcomes:
    """One arm's verdicts as arrays, bool (prompts, seeds)."""

    relations: Sequence[str]
    """The relation of each relation prompt."""
    spatial: np.ndarray
    objects: np.ndarray
    extra: np.ndarray
    plain_objects: np.ndarray
    """`objects` on the prompts without a relation, (plain prompts, seeds)."""


@dataclass(frozen=True)
class Resampling:
    """How intervals and p-values are drawn."""

    seed: int
    bootstrap: int
    """Resamples of the prompts."""
    confidence: float

    def weights(self, clusters: int) -> np.ndarray:
        """How often each cluster is drawn in each resample, (bootstrap, clusters)."""
        return _weights(self.seed, self.bootstrap, clusters)

    def bounds(self, resampled: np.ndarray) -> tuple[float | None, float | None]:
        """Percentile interval; resamples without a value are left out."""
        resampled = resampled[np.isfinite(resampled)]
        if not len(resampled):
            return None, None
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(resampled, [tail, 1 - tail])
        return float(low), float(high)


@lru_cache(maxsize=8)
def _weights(seed: int, bootstrap: int, clusters: int) -> np.ndarray:
    rng = numpy_generator(seed, "bootstrap", clusters)
    return rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=bootstrap)


def rate(hits: np.ndarray, trials: np.ndarray, how: Resampling) -> Interval:
    """The rate sum(hits) / sum(trials) over clusters, each (clusters,).

    A rate of exactly 0 or 1 has no spread to resample; its interval is the exact binomial one
    (Clopper & Pearson 1934), with the clusters as the trials.
    """
    n = int(trials.sum())
    if n == 0:
        return Interval(None, None, None, 0)
    value = float(hits.sum() / n)
    if value in (0.0, 1.0):
        clusters = int((trials > 0).sum())
        exact = stats.binomtest(int(value) * clusters, clusters).proportion_ci(how.confidence)
        return Interval(value, float(exact.low), float(exact.high), n)
    weights = how.weights(len(trials))
    return Interval(value, *how.bounds(_ratio(weights @ hits, weights @ trials)), n)


def difference(
    before: tuple[np.ndarray, np.ndarray], after: tuple[np.ndarray, np.ndarray], how: Resampling
) -> Difference:
    """The difference of two rates on the same clusters, each given as (hits, trials)."""
    totals = [int(trials.sum()) for _, trials in (before, after)]
    if 0 in totals:
        return Difference(None, None, None, min(totals), None)
    weights = how.weights(len(before[0]))
    resampled = [_ratio(weights @ hits, weights @ trials) for hits, trials in (before, after)]
    value = float(after[0].sum() / totals[1] - before[0].sum() / totals[0])
    low, high = how.bounds(resampled[1] - resampled[0])
    one_each = all((trials == 1).all() for _, trials in (before, after))
    p = mcnemar(before[0], after[0]) if one_each else permutation(before, after, how.seed)
    return Difference(value, low, high, min(totals), p)


def mcnemar(before: np.ndarray, after: np.ndarray) -> float:
    """Exact two-sided McNemar test on paired yes/no outcomes, each (clusters,)."""
    gained, lost = int((after > before).sum()), int((after < before).sum())
    if gained + lost == 0:
        return 1.0
    return float(stats.binomtest(gained, gained + lost, 0.5).pvalue)


def permutation(
    before: tuple[np.ndarray, np.ndarray], after: tuple[np.ndarray, np.ndarray], seed: int
) -> float:
    """Two-sided permutation test: before and after are exchanged, cluster by cluster.

    For equal trials this flips the signs of the clusters' differences.
    """
    hit_gain, trial_gain = after[0] - before[0], after[1] - before[1]

    def gap(swapped: np.ndarray) -> np.ndarray:
        moved_hits, moved_trials = swapped @ hit_gain, swapped @ trial_gain
        late = _ratio(after[0].sum() - moved_hits, after[1].sum() - moved_trials)
        early = _ratio(before[0].sum() + moved_hits, before[1].sum() + moved_trials)
        return np.abs(late - early)

    rng = numpy_generator(seed, "permutation", len(hit_gain))
    observed = gap(np.zeros((1, len(hit_gain)), dtype=int))[0]
    as_large = 0
    for _ in range(PERMUTATIONS // CHUNK):
        gaps = gap(rng.integers(0, 2, size=(CHUNK, len(hit_gain))))
        as_large += int((gaps >= observed - 1e-12).sum())
    return (1 + as_large) / (1 + PERMUTATIONS)


def score(
    before: Outcomes, after: Outcomes, how: Resampling
) -> tuple[Figures[Interval], Figures[Interval], Figures[Difference]]:
    """Figures before, after, and their paired differences."""
    early, late = _counts(before), _counts(after)
    paired = {key: difference(early[key], late[key], how) for key in early}
    return (
        _figures({key: rate(*early[key], how) for key in early}),
        _figures({key: rate(*late[key], how) for key in late}),
        _figures(paired),
    )


def read_figures(held: dict[str, Any], kind: Callable[..., T]) -> Figures[T]:
    """Figures as a result file holds them, `Interval` or `Difference`."""
    return Figures(
        **{key: kind(**value) for key, value in held.items() if key != "per_relation"},
        per_relation={key: kind(**value) for key, value in held["per_relation"].items()},
    )


Counts = tuple[np.ndarray, np.ndarray]
"""(hits, trials) per prompt."""


def _counts(outcomes: Outcomes) -> dict[str, Counts]:
    objects, spatial = outcomes.objects, outcomes.spatial
    counts = {
        "spatial": _per_prompt(spatial),
        "spatial_strict": _per_prompt(spatial & ~outcomes.extra),
        "relation_given_objects": (spatial.sum(axis=1), objects.sum(axis=1)),
        "objects": _per_prompt(objects),
        "extra": _per_prompt(outcomes.extra),
        "forgetting": _per_prompt(outcomes.plain_objects),
    }
    for relation in dict.fromkeys(sorted(outcomes.relations)):
        chosen = np.array([r == relation for r in outcomes.relations])
        counts[f"per_relation.{relation}"] = _per_prompt(spatial[chosen])
    return counts


def _per_prompt(hits: np.ndarray) -> Counts:
    return hits.sum(axis=1), np.full(len(hits), hits.shape[1])


def _figures(values: dict[str, T]) -> Figures[T]:
    prefix = "per_relation."
    return Figures(
        **{key: value for key, value in values.items() if not key.startswith(prefix)},
        per_relation={k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)},
    )


def _ratio(hits: np.ndarray, trials: np.ndarray) -> np.ndarray:
    """hits / trials, NaN where there is no trial."""
    return np.divide(hits, trials, out=np.full(np.shape(hits), np.nan), where=trials != 0)
