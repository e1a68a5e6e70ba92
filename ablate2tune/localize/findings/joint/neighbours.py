"""Neighbour expansion: does it matter to take the sub-layers next to a top one along?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ablate2tune.components import Catalogue
from ablate2tune.errors import UserError
from ablate2tune.localize.findings.finding import FINDINGS, Finding, Kind, Ranked
from ablate2tune.localize.findings.follow_up import FollowUp
from ablate2tune.localize.ranking.figures import bounds_of, new_figure, write_figure
from ablate2tune.statistics.resampling import corrected

SCHEMA = "ablate2tune/neighbours/1"


def adjacent(catalogue: Catalogue, address: str, known: Sequence[str]) -> list[str]:
    """The sub-layers before and after one in its block, of those that are known to ablate."""
    block = catalogue[catalogue[address].block]
    order = [child.address for child in catalogue.children(block) if child.address in known]
    place = order.index(address)
    return [*order[max(0, place - 1) : place], *order[place + 1 : place + 2]]


def find_neighbours(follow_up: FollowUp, ranked: Sequence[str], count: int) -> Finding:
    """Joint impact of top sub-layers with their neighbours, against the top sub-layer alone.

    Args:
        follow_up: measures the conditions.
        ranked: sub-layers, best first.
        count: how many of the best to expand.

    Raises:
        UserError: no sub-layer was ranked.
    """
    if not ranked:
        raise UserError(
            "no sublayers were ranked", where="localize.joint.neighbours", mend="raise top_blocks"
        )
    catalogue = follow_up.sweep.catalogue
    cases = [
        (top, tuple(beside))
        for top in ranked[:count]
        for near in [adjacent(catalogue, top, ranked)]
        for beside in ([[one] for one in near] + ([near] if len(near) > 1 else []))
    ]

    def joint(*addresses: str):
        return follow_up.joint(addresses, "sublayer")

    follow_up.measure(
        condition
        for top, beside in cases
        for condition in (joint(top), *map(joint, beside), joint(top, *beside))
    )

    def impact(*addresses: str):
        return follow_up.impacts(joint(*addresses)).target

    with np.errstate(invalid="ignore"):  # losses that are not finite are told, not computed with
        changes = [impact(top, *beside) - impact(top) for top, beside in cases]
        beyond = [
            change - sum(impact(one) for one in beside)
            for change, (_, beside) in zip(changes, cases, strict=True)
        ]
    uncorrected = [follow_up.p(change) for change in changes]
    rows = [
        {
            "component": top,
            "neighbours": list(beside),
            "alone": follow_up.mean(impact(top)),
            "joint": follow_up.mean(impact(top, *beside)),
            "change": follow_up.mean(change),
            "interaction": follow_up.mean(rest),
            "p": p,
            "p_uncorrected": raw,
            "changes": p < 1 - follow_up.confidence,
        }
        for (top, beside), change, rest, p, raw in zip(
            cases, changes, beyond, corrected(uncorrected), uncorrected, strict=True
        )
    ]
    data = {
        "schema": SCHEMA,
        "figure": "target impact of a sub-layer alone and together with its neighbours",
        "confidence": follow_up.confidence,
        "groups": len(follow_up.groups),
        "cases": rows,
    }
    changed = sum(row["changes"] for row in rows)
    return Finding(
        "neighbours",
        data,
        draw_neighbours,
        f"neighbours: taking adjacent sub-layers along changes the impact in {changed} of "
        f"{len(rows)} cases",
    )


def draw_neighbours(data: dict[str, Any], path: Path) -> None:
    """Impact alone and with neighbours, a pair of bars for each case, with intervals."""
    cases = data["cases"]
    figure, axes = new_figure(9, 1.6 + 0.5 * max(1, len(cases)))
    for offset, key, colour in ((-0.19, "alone", "tab:blue"), (0.19, "joint", "tab:orange")):
        value, low, high = bounds_of([case[key] for case in cases])
        places = [place + offset for place in range(len(cases))]
        axes.barh(places, value, height=0.36, color=colour, alpha=0.7, label=key)
        axes.hlines(places, low, high, color="black", linewidth=1)
    names = [
        f"{case['component']}\n+ {', '.join(n.rpartition('.')[2] for n in case['neighbours'])}"
        for case in cases
    ]
    axes.set_yticks(range(len(cases)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(f"target impact, with {100 * data['confidence']:.0f} % intervals")
    if cases:
        axes.legend(fontsize=8)
    write_figure(figure, path)


def _find(ranked: Ranked) -> Finding:
    count = ranked.config.joint.neighbours
    return find_neighbours(ranked.follow_up, ranked.best("sublayer"), count)


FINDINGS.add("neighbours", Kind(lambda ranked: ranked.config.joint.neighbours > 0, _find))
