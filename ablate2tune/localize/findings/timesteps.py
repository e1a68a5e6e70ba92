"""Impact per noise level: when in the sampling a component matters."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ablate2tune.ablation import MODES
from ablate2tune.localize.findings.finding import FINDINGS, Finding, Kind, Ranked
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.ranking.figures import bounds_of, new_figure, write_figure
from ablate2tune.localize.ranking.ranking import Analysis
from ablate2tune.localize.ranking.row import Row

SCHEMA = "ablate2tune/timesteps/2"
SHOWN = 8
"""Components of the ranking that are shown."""


def timesteps_finding(analysis: Analysis, rows: Sequence[Row], sigmas: Sequence[float]) -> Finding:
    """Spatial and control impact of the best components at each noise level.

    Args:
        analysis: of the sweep.
        rows: the ranking, all levels.
        sigmas: the noise levels, in the order of the recipe.
    """
    best = sorted(rows, key=lambda row: row.rank)[:SHOWN]
    effect = "restored by" if any(MODES[row.mode].restores for row in best) else "lost without"
    data = {
        "schema": SCHEMA,
        "figure": f"margin {effect} the component, at each noise level",
        "confidence": analysis.confidence,
        "sigmas": list(sigmas),
        "components": [
            {
                "address": row.component.address,
                "level": row.component.level,
                "rank": row.rank,
                **analysis.impacts_by_sigma(Condition((row.component.address,), row.mode)),
            }
            for row in best
        ],
    }
    return Finding("timesteps", data, draw_timesteps)


def draw_timesteps(data: dict[str, Any], path: Path) -> None:
    """A line per component over the noise levels, with intervals."""
    figure, axes = new_figure(8, 4.5)
    order = sorted(range(len(data["sigmas"])), key=data["sigmas"].__getitem__)
    x = [data["sigmas"][level] for level in order]
    for component in data["components"]:
        value, low, high = bounds_of([component["target"][level] for level in order])
        (line,) = axes.plot(x, value, marker="o", markersize=3, label=component["address"])
        axes.fill_between(x, low, high, color=line.get_color(), alpha=0.1)
    axes.axhline(0, color="0.6", linewidth=0.8)
    axes.set_xlabel("noise level sigma (1 is pure noise)")
    axes.set_ylabel(f"target impact, with {100 * data['confidence']:.0f} % intervals")
    if data["components"]:
        axes.legend(fontsize=7)
    write_figure(figure, path)


def _find(ranked: Ranked) -> Finding:
    return timesteps_finding(ranked.analysis, ranked.rows, ranked.sweep.probe.parts)


FINDINGS.add("timesteps", Kind(lambda ranked: True, _find))
