"""What is decided of a ranking: which components are among the best, and whose place is open."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ablate2tune.components import Component
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.ranking.ranking import Analysis
from ablate2tune.statistics.regression_estimate import Carried, carried_over
from ablate2tune.statistics.top_set import Places, places


def places_by_impact(
    analysis: Analysis,
    counted: Mapping[Condition, np.ndarray],
    sizes: Sequence[int],
    wanted: int,
) -> Places:
    """What can be told of the best of some conditions by target impact, or by specificity.

    Args:
        analysis: statistics of the rows.
        counted: which examples of each count, bool (n,), though more may have been measured.
        sizes: how many modules each holds.
        wanted: how many modules the best must hold.
    """
    rows, measured, slopes = [], [], 0
    for condition, mask in counted.items():
        lost, known, carried = _ranked(analysis, condition, mask)
        rows.append(analysis.groups.by_cluster(lost, known, carried))
        measured.append(analysis.groups.clusters_of(known))
        slopes = max(slopes, carried.slopes)
    return places(np.stack(rows), measured, sizes, wanted, analysis.confidence, slopes)


def _ranked(
    analysis: Analysis, condition: Condition, counted: np.ndarray
) -> tuple[np.ndarray, np.ndarray, Carried]:
    """What a condition is ranked by, (n,); of which examples it is known; and what steadies it."""
    name = analysis.tested
    known = analysis.known(name, condition, counted)
    lost = analysis.impacts(condition)[name]
    if analysis.ranked_by != "specificity":
        return lost, known, analysis.carried(name, condition, known)
    control, base = analysis.control.name, analysis.base
    share = lost / analysis.baseline[name]["value"]
    beside = analysis.impacts(condition)[control] / analysis.baseline[control]["value"]
    lost = share - beside
    return lost, known, carried_over(lost, known, [base[name], base[control]])


def decided(
    analysis: Analysis,
    measured: Sequence[tuple[Component, Condition]],
    wanted: int,
    gains: Mapping[str, np.ndarray] | None = None,
) -> dict[str, Any] | None:
    """Of one level of a ranking, as in `ranking.json`; None where nothing is to be chosen.

    Args:
        analysis: statistics of the rows.
        measured: the components that are ranked, with their conditions.
        wanted: how many modules are to be chosen.
        gains: what an adapter could gain, by address, (n,), where that ranks.
    """
    figure = analysis.figure
    if not measured or wanted < 1 or figure.of_set or figure.partial:
        return None
    sizes = [max(1, len(part.linears)) for part, _ in measured]
    if analysis.ranked_by == "gradient" and gains:
        rows, groups = [gains[part.address] for part, _ in measured], analysis.groups
        known = [np.isfinite(row) for row in rows]
        table = [groups.by_cluster(row, mask) for row, mask in zip(rows, known, strict=True)]
        counts = [groups.clusters_of(mask) for mask in known]
        found = places(np.stack(table), counts, sizes, wanted, analysis.confidence)
    else:
        everything = np.ones(analysis.groups.n, bool)
        counted = {condition: everything for _, condition in measured}
        found = places_by_impact(analysis, counted, sizes, wanted)
    return {
        "level": measured[0][0].level,
        "modules": wanted,
        "components": found.top,
        "confidence": analysis.confidence,
        **{
            verdict: [
                part.address
                for (part, _), own in zip(measured, found.verdicts, strict=True)
                if own == verdict
            ]
            for verdict in ("in", "open")
        },
    }
