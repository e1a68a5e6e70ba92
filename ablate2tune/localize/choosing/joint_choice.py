"""The set of a ranking by ablation: what each Linear adds to those that are ablated already."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ablate2tune.localize.choosing.lazy_greedy import lazy_greedy
from ablate2tune.localize.findings.follow_up import FollowUp
from ablate2tune.localize.measuring.racing import TOP
from ablate2tune.localize.ranking.row import Row

LEVEL = "projection"


def choose_jointly(follow_up: FollowUp, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The first `TOP` Linears by the target margin that is lost when they are ablated together.

    Chosen on one half of the follow-up's contrast groups and judged on the other, since the best of
    many sets looks better than it is on the groups that chose it.

    Args:
        follow_up: measures joint conditions.
        rows: of the ranked Linears, in their order.

    Returns:
        In the order of their choice, as `set` in ranking.json: `adds`, what each adds to the margin
        that the ones before it take away, on the judging half; and whether that is told from zero.
    """
    choosing, judging = follow_up.groups[::2], follow_up.groups[1::2]
    mask = follow_up.mask(choosing)

    def lost(chosen: Sequence[str]) -> float:
        condition = follow_up.joint(chosen, LEVEL)
        follow_up.measure([condition], choosing)
        values = follow_up.impacts(condition).target[mask]
        return float(values.mean()) if np.isfinite(values).all() else -np.inf

    ranked = [row.component.address for row in sorted(rows, key=lambda row: row.rank_in_level)]
    follow_up.measure([follow_up.joint([one], LEVEL) for one in ranked[: 2 * TOP]], choosing)
    alone = {one: lost([one]) for one in ranked[: 2 * TOP]}
    chosen = lazy_greedy(alone, lost, TOP)

    nested = [follow_up.joint(chosen[:size], LEVEL) for size in range(1, len(chosen) + 1)]
    follow_up.measure(nested, judging)
    found, before = [], np.zeros(len(mask))
    for address, condition in zip(chosen, nested, strict=True):
        after = follow_up.impacts(condition).target
        adds = follow_up.mean(after - before, judging)
        settled = adds is not None and adds["low"] > 0
        found.append({"address": address, "adds": adds, "settled": settled})
        before = after
    return found
