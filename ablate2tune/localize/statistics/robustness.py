"""How far a ranking can be trusted: noise floor, stability between halves, interaction gaps."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from ablate2tune.localize.statistics.groups import Groups, Interval
from ablate2tune.seeding import numpy_generator

SPLITS = 200
"""Random halvings of the contrast groups."""
REDUNDANT = 1.5
"""A block whose impact exceeds this multiple of its sub-layers' summed impacts is redundant inside:
each of them can stand in for another."""


class Stability(NamedTuple):
    """Agreement of the rankings that two random halves of the contrast groups give."""

    spearman: float
    """Mean over the halvings."""
    low: float
    high: float
    """The middle 90 % of the halvings."""
    top_shared: float
    """Mean fraction of one half's best `top` that are among the other's."""
    top: int
    groups: int
    """Contrast groups that all components were measured on."""

    def as_dict(self) -> dict[str, Any]:
        """As in `ranking.json`."""
        return self._asdict()


def split_half(
    impacts: np.ndarray, groups: Sequence[str], top: int, seed: int, splits: int = SPLITS
) -> Stability | None:
    """Stability of the order of components under halving the contrast groups.

    Args:
        impacts: (components, examples); examples that are not finite for every component are left
            out.
        groups: the group of each example; a group is never divided.
        top: how many count as the best; at most half the components.
        seed: of the halvings.
        splits: how many.

    Returns:
        None for fewer than three components or four groups.
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
        float(low),
        float(high),
        float(np.mean(overlaps)),
        top,
        count,
    )


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation; 0 where one of them is constant."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(stats.spearmanr(first, second)[0])  # pyright: ignore


def noise_floor(difference: np.ndarray, groups: Groups) -> float:
    """How far the mean over all examples moves when nothing but the noise is drawn again.

    Args:
        difference: baseline minus reseeded baseline, (n,); nan where it was not reseeded.
        groups: resampling of the examples' groups.

    Returns:
        The larger bound of the interval of the mean difference, in absolute value, scaled from
        the examples that were reseeded to all of them. An impact below it is no larger than what
        another draw of noise does to the baseline.
    """
    measured = np.isfinite(difference)
    nothing = np.zeros(len(difference))
    interval = groups.interval(groups.estimated_mean(difference, measured, nothing))
    widest = max(abs(interval["low"]), abs(interval["high"]))
    return float(widest * np.sqrt(measured.mean()))


class Gap(NamedTuple):
    """A block's impact against the sum of its sub-layers'."""

    block: str
    sublayers: list[str]
    block_impact: float
    sum_of_sublayers: float
    gap: Interval
    """Block minus sum, on the examples that all of them were measured on."""

    @property
    def redundant(self) -> bool:
        """Whether the parts stand in for each other, so that single ablations understate them."""
        return self.gap["low"] > 0 and self.block_impact > REDUNDANT * max(self.sum_of_sublayers, 0)

    def as_dict(self) -> dict[str, Any]:
        """As in `ranking.json`."""
        return {**self._asdict(), "redundant": self.redundant}


def interaction_gap(
    block: str, impact: np.ndarray, sublayers: Mapping[str, np.ndarray], groups: Groups
) -> Gap | None:
    """The interaction gap of a block; None where no example was measured under all of them.

    Args:
        block: its address.
        impact: of skipping it, (n,); nan where not measured.
        sublayers: address to impact, (n,) each.
        groups: resampling of the examples' groups.
    """
    total = np.sum(list(sublayers.values()), axis=0)
    gap = impact - total
    measured = np.isfinite(gap)
    if not measured.any():
        return None
    estimate = groups.estimated_mean(gap, measured, np.zeros(len(gap)))
    return Gap(
        block,
        list(sublayers),
        float(impact[measured].mean()),
        float(total[measured].mean()),
        groups.interval(estimate),
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
