"""Cumulative curves: more and more components ablated, in the order of their importance."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from ablate2tune.errors import UserError
from ablate2tune.localize.findings.finding import FINDINGS, Finding, Kind, Ranked
from ablate2tune.localize.findings.follow_up import FollowUp
from ablate2tune.localize.ranking.figures import bounds_of, new_figure, write_figure

SCHEMA = "ablate2tune/curves/2"
STEPS = 10
ORDERS = {"least": "least important first", "most": "most important first"}

STYLES = {"target": "-", "control": "--"}


def cumulative_sets(order: Sequence[str]) -> list[tuple[str, ...]]:
    """What is ablated at 0 %, 10 %, ... 100 %; rounded half up, equal steps once.

    >>> [len(chosen) for chosen in cumulative_sets("abcdef")]
    [0, 1, 2, 3, 4, 5, 6]
    """
    counts = [(step * len(order) + STEPS // 2) // STEPS for step in range(STEPS + 1)]
    return [tuple(order[:count]) for count in dict.fromkeys(counts)]


def find_curves(follow_up: FollowUp, ranked: Sequence[str], level: str) -> Finding:
    """Ablate the least important first, and the most important first.

    Args:
        follow_up: measures the conditions.
        ranked: components, best first.
        level: of all of them.

    Raises:
        UserError: fewer than two components were ranked.
    """
    if len(ranked) < 2:
        raise UserError(
            f"{len(ranked)} {level}s were ranked, a curve needs at least 2",
            where="localize.joint.curves",
            mend="raise localize.top_blocks",
        )
    orders = {"least": list(reversed(ranked)), "most": list(ranked)}
    sets = {name: cumulative_sets(order) for name, order in orders.items()}
    follow_up.measure(follow_up.joint(chosen, level) for steps in sets.values() for chosen in steps)
    curves = {name: _curve(follow_up, steps, len(ranked), level) for name, steps in sets.items()}
    data = {
        "schema": SCHEMA,
        "figure": "margins and loss that are left while components are ablated",
        "confidence": follow_up.confidence,
        "level": level,
        "groups": len(follow_up.groups),
        "ranked": list(ranked),
        "curves": curves,
    }
    cliff = curves["least"]["cliff"]
    fall = (
        f"the margin falls most between {100 * cliff[0]:.0f} and {100 * cliff[1]:.0f} %"
        if cliff
        else "some losses are not finite"
    )
    return Finding(
        "curves", data, draw_curves, f"curves: with the least important {level}s off first, {fall}"
    )


def _curve(
    follow_up: FollowUp, steps: Sequence[tuple[str, ...]], count: int, level: str
) -> dict[str, Any]:
    points: list[dict[str, Any]] = []
    for chosen in steps:
        condition = follow_up.joint(chosen, level)
        figures = follow_up.means(follow_up.margins(condition))
        points.append({"ablated": len(chosen), "fraction": len(chosen) / count, **figures})
    return {"points": points, "cliff": cliff(points)}


def cliff(points: Sequence[dict[str, Any]]) -> tuple[float, float] | None:
    """The two neighbouring fractions between which the target margin falls most.

    None if a margin is not finite.
    """
    if any(point["target"] is None for point in points):
        return None
    falls = [a["target"]["value"] - b["target"]["value"] for a, b in pairwise(points)]
    steepest = falls.index(max(falls))
    return points[steepest]["fraction"], points[steepest + 1]["fraction"]


def draw_curves(data: dict[str, Any], path: Path) -> None:
    """Spatial (solid) and control margins (dashed) over the ablated share, with intervals."""
    figure, axes = new_figure(8, 4.5)
    colours = {"least": "tab:blue", "most": "tab:red"}
    for name, curve in data["curves"].items():
        x = [100 * point["fraction"] for point in curve["points"]]
        measured = [name for name in STYLES if name in curve["points"][0]]
        for figure_name, style in ((name, STYLES[name]) for name in measured):
            value, low, high = bounds_of([point[figure_name] for point in curve["points"]])
            label = f"{figure_name}, {ORDERS[name]}"
            axes.plot(x, value, style, color=colours[name], marker="o", markersize=3, label=label)
            axes.fill_between(x, low, high, color=colours[name], alpha=0.12)
    axes.axhline(0, color="0.6", linewidth=0.8)
    axes.set_xlabel(f"{data['level']}s ablated, %")
    axes.set_ylabel(f"margin, with {100 * data['confidence']:.0f} % intervals")
    axes.legend(fontsize=8)
    write_figure(figure, path)


def _find(ranked: Ranked) -> Finding:
    level = ranked.config.joint.level
    return find_curves(ranked.follow_up, ranked.best(level), level)


FINDINGS.add("curves", Kind(lambda ranked: ranked.config.joint.curves, _find))
