"""Interactions: what two components do together beyond the sum of what each does alone."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from ablate2tune.errors import UserError
from ablate2tune.localize.findings.finding import FINDINGS, Finding, Kind, Ranked
from ablate2tune.localize.findings.follow_up import FollowUp
from ablate2tune.localize.ranking.figures import write_heatmap
from ablate2tune.statistics.resampling import corrected

SCHEMA = "ablate2tune/interactions/1"


def find_pairs(follow_up: FollowUp, top: Sequence[str], level: str) -> Finding:
    """Joint impact minus the sum of the two, for every two components, paired by example.

    Above zero the two stand in for each other (redundant): single ablations understate them.
    Below zero they work in series or on the same thing (overlapping): without one, the other has
    little left to do.

    Args:
        follow_up: measures the conditions.
        top: components of one level.
        level: their level.

    Raises:
        UserError: there are fewer than two.
    """
    if len(top) < 2:
        raise UserError(
            f"{len(top)} {level} was ranked, interactions need at least 2",
            where="localize.joint.pairs",
            mend="raise localize.top_blocks",
        )
    pairs = list(combinations(top, 2))
    follow_up.measure(
        [follow_up.joint(chosen, level) for chosen in (*((one,) for one in top), *pairs)]
    )
    alone = {one: follow_up.impacts(follow_up.joint([one], level)).target for one in top}
    joint = {pair: follow_up.impacts(follow_up.joint(pair, level)).target for pair in pairs}
    with np.errstate(invalid="ignore"):  # losses that are not finite are told, not computed with
        beyond = {pair: joint[pair] - alone[pair[0]] - alone[pair[1]] for pair in pairs}
    uncorrected = [follow_up.p(values) for values in beyond.values()]
    rows = [
        {
            "pair": list(pair),
            "joint": follow_up.mean(joint[pair]),
            "interaction": follow_up.mean(values),
            "p": p,
            "p_uncorrected": raw,
            "reading": reading(follow_up.mean(values), p, 1 - follow_up.confidence),
        }
        for (pair, values), p, raw in zip(
            beyond.items(), corrected(uncorrected), uncorrected, strict=True
        )
    ]
    margin = follow_up.mean(follow_up.margins(follow_up.joint([], level)).target)
    data = {
        "schema": SCHEMA,
        "figure": "joint target impact minus the sum of the two single impacts",
        "confidence": follow_up.confidence,
        "level": level,
        "groups": len(follow_up.groups),
        "baseline": margin,
        "components": list(top),
        "single": {one: follow_up.mean(impact) for one, impact in alone.items()},
        "pairs": rows,
    }
    redundant = [row for row in rows if row["reading"] == "redundant"]
    overlapping = [row for row in rows if row["reading"] == "overlapping"]
    return Finding(
        "interactions",
        data,
        draw_pairs,
        f"interactions: of {len(rows)} pairs {len(redundant)} are redundant and "
        f"{len(overlapping)} overlap",
    )


def reading(interaction: Any, p: float, alpha: float) -> str:
    """redundant, overlapping, additive (not told from zero), or not finite."""
    if interaction is None:
        return "not finite"
    if p >= alpha:
        return "additive"
    return "redundant" if interaction["value"] > 0 else "overlapping"


def interaction_cells(data: dict[str, Any]) -> np.ndarray:
    """Interactions in percent of the baseline's margin, symmetric; single impacts on the diagonal.

    Float, (components, components); nan where something is not finite.
    """
    names = data["components"]
    cells = np.full((len(names), len(names)), np.nan)
    percent = 100 / data["baseline"]["value"]
    for place, name in enumerate(names):
        if data["single"][name] is not None:
            cells[place, place] = percent * data["single"][name]["value"]
    for row in data["pairs"]:
        if row["interaction"] is not None:
            a, b = (names.index(name) for name in row["pair"])
            cells[a, b] = cells[b, a] = percent * row["interaction"]["value"]
    return cells


def draw_pairs(data: dict[str, Any], path: Path) -> None:
    """The interaction matrix."""
    names = data["components"]
    write_heatmap(
        interaction_cells(data),
        names,
        names,
        "joint minus sum; diagonal: alone",
        "% of the baseline's target margin",
        path,
    )


def _find(ranked: Ranked) -> Finding:
    joint = ranked.config.joint
    return find_pairs(ranked.follow_up, ranked.best(joint.level)[: joint.pairs], joint.level)


FINDINGS.add("interactions", Kind(lambda ranked: ranked.config.joint.pairs > 0, _find))
