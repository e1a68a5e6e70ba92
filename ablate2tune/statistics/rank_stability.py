"""How alike two orders of the same things are, and how an order holds between two halves."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from ablate2tune.seeding import numpy_generator

SPLITS = 200
"""Random halvings of the clusters."""


class Stability(NamedTuple):
    """Agreement of the orders that two random halves of the clusters give."""

    spearman: float
    """Mean over the halvings."""
    middle_90: tuple[float, float]
    """Between which the middle 90 % of the halvings lie. No confidence interval: the halvings share
    their data, and each half has half of it."""
    top_shared: float
    """Mean fraction of one half's best `top` that are among the other's."""
    top: int
    groups: int
    """Clusters that all components were measured on."""

    def as_dict(self) -> dict[str, Any]:
        """As in `ranking.json`."""
        return self._asdict()


def split_half(
    impacts: np.ndarray, groups: Sequence[str], top: int, seed: int, splits: int = SPLITS
) -> Stability | None:
    """Stability of the order of components under halving the clusters.

    Args:
        impacts: (components, examples); examples that are not finite for every component are left
            out.
        groups: the cluster of each example; a cluster is never divided.
        top: how many count as the best; at most half the components.
        seed: of the halvings.
        splits: how many.

    Returns:
        None for fewer than three components or four clusters.
    """
    shared = np.isfinite(impacts).all(0)
    names, index = np.unique(np.asarray(groups)[shared], return_inverse=True)
    components, count = len(impacts), len(names)
    if components < 3 or count < 4:
        return None
    top = max(1, min(top, components // 2))
    sums = np.stack([np.bincount(index, weights=row[shared], minlength=count) for row in impacts])
    sizes = np.bincount(index, minlength=count)
    generator = numpy_generator(seed, "split-half", count)
    correlations, overlaps = [], []
    for _ in range(splits):
        half = np.zeros(count, bool)
        half[generator.permutation(count)[: count // 2]] = True
        first, second = (sums[:, part].sum(1) / sizes[part].sum() for part in (half, ~half))
        correlations.append(spearman(first, second))
        best = [set(np.argsort(-values, kind="stable")[:top]) for values in (first, second)]
        overlaps.append(len(best[0] & best[1]) / top)
    low, high = np.quantile(correlations, [0.05, 0.95])
    return Stability(
        float(np.mean(correlations)),
        (float(low), float(high)),
        float(np.mean(overlaps)),
        top,
        count,
    )


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation; 0 where one of them is constant."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(stats.spearmanr(first, second)[0])  # pyright: ignore


def spearman_rows(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's correlation of each row of the one with the same row of the other; 0 if flat."""
    ranks = [stats.rankdata(x, axis=1) for x in (first, second)]
    centred = [x - x.mean(1, keepdims=True) for x in ranks]
    norms = np.prod([np.sqrt((x**2).sum(1)) for x in centred], axis=0)
    return np.divide(
        (centred[0] * centred[1]).sum(1), norms, out=np.zeros(len(norms)), where=norms > 0
    )


def agreement(figures: Mapping[str, Sequence[float | None]]) -> dict[str, float]:
    """Spearman's correlation of every two ways to rank the same components.

    Args:
        figures: way to figure per component; a way with a None is left out.

    Returns:
        "impact~specificity" and so on, for the ways that are there; empty for fewer than three
        components.
    """
    whole = {
        name: np.array(values, float)
        for name, values in figures.items()
        if len(values) >= 3 and all(value is not None for value in values)
    }
    names = list(whole)
    return {
        f"{a}~{b}": spearman(whole[a], whole[b])
        for place, a in enumerate(names)
        for b in names[place + 1 :]
    }
