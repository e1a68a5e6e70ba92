"""What stands beside a ranking: how far it can be trusted, and where it must mislead."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from ablate2tune.ablation import MODES
from ablate2tune.localize.measuring.sweep import Measured
from ablate2tune.localize.ranking.interaction_gaps import Gap, interaction_gap
from ablate2tune.localize.ranking.ranking import Analysis
from ablate2tune.localize.ranking.row import Row
from ablate2tune.statistics.clusters import Clusters
from ablate2tune.statistics.rank_stability import agreement, spearman, split_half

RESEEDED = 4
"""Components, evenly spaced over a ranking, whose impact is measured on other noise as well."""


def trust(
    analysis: Analysis,
    groups: Sequence[str],
    levels: dict[str, Measured],
    rows: Sequence[Row],
    reseeded: Sequence[np.ndarray] | None,
    top: int,
    seed: int,
) -> dict[str, Any]:
    """The `trust` part of `ranking.json`.

    Args:
        analysis: statistics of the sweep.
        groups: the contrast group of each example.
        levels: ranked components with their conditions, by level ("block", "sublayer").
        rows: the ranked rows of all levels.
        reseeded: impacts of some components minus the same on other noise, (n,) each, or None where
            that was not measured.
        top: how many components count as the best.
        seed: of the halvings.
    """
    gaps = _gaps(analysis, levels)
    fewest = min((row.ranked["n"] for row in rows), default=0)
    floor = None
    if reseeded and fewest:
        groups_of_fewest = fewest * analysis.groups.count / analysis.groups.n
        floor = noise_floor(reseeded, groups_of_fewest, analysis.groups)
    return {
        "noise_floor": floor,
        "stability": {
            level: _stability(analysis, measured, groups, top, seed)
            for level, measured in levels.items()
        },
        "agreement": {level: _agreement(rows, level) for level in levels},
        "screening": {level: _screening(analysis, measured) for level, measured in levels.items()},
        "interaction_gaps": [gap.as_dict() for gap in gaps],
        "warnings": [
            *_warnings(analysis, rows, floor),
            *_redundant(gaps, rows, analysis.figure.title),
        ],
    }


def evenly_spaced(rows: Sequence[Row], count: int) -> list[Row]:
    """So many rows, from the first to the last of a ranking."""
    places = np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)
    return [rows[place] for place in places]


def noise_floor(changes: Sequence[np.ndarray], clusters: float, groups: Clusters) -> float:
    """How far an impact moves when nothing but the noise is drawn again, in its own unit.

    From the spread of the changes, whose mean is zero, over the groups: a bound, with the
    intervals' confidence, of how the mean over `clusters` groups changes. An impact below it is no
    larger than what another draw of noise does to it.

    Args:
        changes: impacts of some components minus the same on other noise, (n,) each; nan where it
            was not drawn again.
        clusters: groups that the impact is measured on.
        groups: of the examples.
    """
    variances, fewest = [], groups.count
    for change in changes:
        known = np.isfinite(change)
        redrawn = groups.clusters_of(known)
        mean = np.sum(groups.sums(np.where(known, change, 0.0)) ** 2) / known.sum() ** 2
        variances.append(redrawn * mean)  # of one group; the true mean is zero
        fewest = min(fewest, redrawn)
    bound = stats.t.ppf((1 + groups.how.confidence) / 2, fewest)
    return float(bound * np.sqrt(np.mean(variances) / clusters))


def _stability(
    analysis: Analysis, measured: Measured, groups: Sequence[str], top: int, seed: int
) -> dict[str, Any] | None:
    if not measured:
        return None
    impacts = np.stack([analysis.impacts(condition)[analysis.tested] for _, condition in measured])
    found = split_half(impacts, groups, top, seed)
    return found.as_dict() if found else None


def _agreement(rows: Sequence[Row], level: str) -> dict[str, float]:
    """How the ways to rank agree on the components of one level."""
    ours = [row for row in rows if row.component.level == level]
    return agreement(
        {
            "impact": [row.ranked["value"] for row in ours],
            "specificity": [row.specificity for row in ours],
            "gradient": [row.gain and row.gain["value"] for row in ours],
        }
    )


def _screening(analysis: Analysis, measured: Measured) -> dict[str, Any] | None:
    """Agreement of first-order estimates with exact impacts, on the examples that have both."""
    exact, estimated = [], []
    for _, condition in measured:
        first_order = analysis.first_order(condition)
        if first_order is None:
            continue
        impact = analysis.impacts(condition)[analysis.tested]
        both = np.isfinite(impact)
        exact.append(impact[both].mean())
        estimated.append(first_order[analysis.tested][both].mean())
    if len(exact) < 3:
        return None
    return {"spearman": spearman(np.array(estimated), np.array(exact)), "components": len(exact)}


def _gaps(analysis: Analysis, levels: dict[str, Measured]) -> list[Gap]:
    parts: dict[str, dict[str, np.ndarray]] = {}
    for component, condition in levels.get("sublayer") or levels.get("projection", []):
        impact = analysis.impacts(condition)[analysis.tested]
        parts.setdefault(component.block, {})[component.address] = impact
    gaps = [
        interaction_gap(
            block.address,
            analysis.impacts(condition)[analysis.tested],
            parts[block.address],
            analysis.groups,
        )
        for block, condition in levels.get("block", [])
        if block.address in parts
    ]
    return [gap for gap in gaps if gap is not None]


def _redundant(gaps: Sequence[Gap], rows: Sequence[Row], title: str) -> list[str]:
    if any(MODES[row.mode].restores for row in rows):
        return [
            f"{gap.block}: patched whole it restores {gap.block_impact:.2e} of the margin, its "
            f"parts one by one {gap.sum_of_sublayers:.2e} in all; they work together, so "
            "their single patches understate them"
            for gap in gaps
            if gap.redundant
        ]
    return [
        f"{gap.block}: without it {title} is worse by {gap.block_impact:.2e}, its parts one "
        f"by one sum to {gap.sum_of_sublayers:.2e}; they stand in for each other, so their single "
        "ablations understate them"
        for gap in gaps
        if gap.redundant
    ]


def _warnings(analysis: Analysis, rows: Sequence[Row], floor: float | None) -> list[str]:
    warnings = []
    if rows and not analysis.has_skill:
        warnings.append(
            f"the baseline has no {analysis.figure.title}, so impacts say nothing: ablation has "
            "nothing to subtract; only the ranking by gradient can be read"
        )
    collapsed: dict[str, list[str]] = {}
    for row in rows:
        for figure in analysis.collapses(row):
            collapsed.setdefault(figure.collapse, []).append(row.component.address)
    warnings += [
        f"{collapse} without {', '.join(addresses)}: the model is far outside its usual range "
        "there, and what else changes says little about the capability"
        for collapse, addresses in collapsed.items()
    ]
    fewest = min((row.ranked["n"] for row in rows), default=0)
    if floor is not None and not any(
        abs(row.ranked["value"]) > floor * np.sqrt(fewest / row.ranked["n"]) for row in rows
    ):
        warnings.append(
            f"no impact exceeds {floor:.2e}, by which it may change when the noise is drawn again: "
            "raise localize.budget (or localize.minutes), localize.groups or localize.noises"
        )
    return warnings
