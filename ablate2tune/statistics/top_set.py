"""Which of many means are the largest: what can be told of the best few, and what is open.

Every two means are compared by what each cluster says of both: what moves both alike, such as a
picture that every part matters for, falls out of their difference.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

Verdict = Literal["in", "out", "open"]


class Places(NamedTuple):
    """Who is among the best."""

    verdicts: list[Verdict]
    """in: above so many of the others that it is among the best; out: so many lie above it that it
    is not; open: neither can be told."""
    doubt: np.ndarray
    """How far each mean lies from the cut between the best and the rest, in its standard errors."""
    top: int
    """How many the best are."""

    @property
    def settled(self) -> bool:
        """Whether no place is open."""
        return "open" not in self.verdicts


def places(
    table: np.ndarray,
    measured: Sequence[int],
    sizes: Sequence[int],
    wanted: int,
    confidence: float,
    slopes: int = 0,
) -> Places:
    """What can be told of the largest of some means: as many as hold `wanted` in all.

    The chance that any verdict is wrong is at most 1 - confidence: each comparison across the cut
    has its share of it (Bonferroni), in a t test of the paired differences.

    Args:
        table: what each cluster says of each mean, (means, clusters), from `Clusters.by_cluster`. A
            mean that is not finite is out.
        measured: clusters that each mean was measured on.
        sizes: how many each holds; 1 each where the `wanted` largest are wanted.
        wanted: how many the best must hold.
        confidence: that all verdicts are right.
        slopes: degrees of freedom that were spent on steadying the table.
    """
    verdicts: list[Verdict] = ["out"] * len(table)
    doubt = np.full(len(table), np.inf)
    there = np.flatnonzero(np.isfinite(table).all(1))
    table, counts = table[there], np.asarray(measured)[there]
    values = table.mean(1)
    order = np.argsort(-values, kind="stable")
    held = np.cumsum(np.asarray(sizes)[there][order])
    top = min(len(there), int(np.searchsorted(held, wanted)) + 1) if wanted > 0 else 0
    others = len(there) - top
    above = told_apart(table, counts, 1 - (1 - confidence) / max(1, top * others), slopes)
    for place, wins, losses in zip(there, above.sum(1), above.sum(0), strict=True):
        verdicts[place] = "in" if wins >= others else "out" if losses >= top else "open"
    if top and others:
        cut = values[order[top - 1 : top + 1]].mean()
        doubt[there] = np.abs(values - cut) / (table.std(1) / np.sqrt(counts) + 1e-300)
    return Places(verdicts, doubt, top)


def told_apart(
    table: np.ndarray, measured: np.ndarray, confidence: float, slopes: int = 0
) -> np.ndarray:
    """Whether each mean lies above each other one: bool, (means, means), row above column.

    Args:
        table: as for `places`, of finite means.
        measured: clusters that each was measured on; of two, the fewer count.
        confidence: of each comparison, one-sided.
        slopes: as for `places`.
    """
    means, clusters = table.mean(1), table.shape[1]
    centred = table - means[:, None]
    spread = centred @ centred.T / clusters
    variance = spread.diagonal()[:, None] + spread.diagonal() - 2 * spread
    fewer = np.minimum.outer(measured, measured)
    free = np.maximum(fewer - 1 - slopes, 0)
    degrees, which = np.unique(free, return_inverse=True)
    bounds = stats.t.ppf(confidence, np.maximum(degrees, 1))[which.reshape(free.shape)]
    error = np.sqrt(np.maximum(variance, 0) / clusters * fewer / np.maximum(free, 1))
    return (means[:, None] - means > bounds * error) & (free > 0)
