"""A block's impact against those of its sub-layers one by one: do they stand in for each other?"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ablate2tune.statistics.clusters import Clusters, Interval

REDUNDANT = 1.5
"""A block whose impact exceeds this multiple of its sub-layers' summed impacts is redundant inside:
each of them can stand in for another."""


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
    block: str, impact: np.ndarray, sublayers: Mapping[str, np.ndarray], groups: Clusters
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
    estimate = groups.estimated_mean(gap, measured)
    return Gap(
        block,
        list(sublayers),
        float(impact[measured].mean()),
        float(total[measured].mean()),
        groups.interval(estimate),
    )
