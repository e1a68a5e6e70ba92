"""Ranked bars: every component's impact with its interval, and the JSON that drew them."""

from pathlib import Path
from typing import Any

from ablate2tune import files
from ablate2tune.localize.ranking.figures import new_figure, write_figure
from ablate2tune.localize.ranking.ordering import chosen, ordering
from ablate2tune.localize.ranking.ranking_figures import effect

SCHEMA = "ablate2tune/bars/3"
SHOWN = 40
"""Components in the picture; the JSON holds all."""


def bars_data(ranking: dict[str, Any]) -> dict[str, Any]:
    """What the bars show: components of all levels, best first, with what they are ordered by.

    Args:
        ranking: the contents of ranking.json.
    """
    rows = sorted(ranking["components"], key=lambda row: row["rank"])
    keys = ("address", "level", "label", "rank")
    by = ordering(ranking)
    tuned = set(chosen(ranking))
    impact = by.key == ranking["figure"]
    return {
        "schema": SCHEMA,
        "figure": effect(ranking) if impact else by.title,
        "confidence": ranking["confidence"],
        "noise_floor": ranking["trust"]["noise_floor"] if impact else None,
        "bars": [
            {key: row[key] for key in keys} | dict(by.of(row)) | {"chosen": row["address"] in tuned}
            for row in rows
        ],
    }


def write_bars(ranking: dict[str, Any], folder: Path) -> None:
    """Write bars.json and bars.png (150 dpi) below `folder`."""
    data = bars_data(ranking)
    shown = data["bars"][:SHOWN]
    figure, axes = new_figure(8, 1.6 + 0.26 * max(1, len(shown)))
    for place, bar in enumerate(shown):
        colour = "tab:blue" if bar["level"] == "block" else "tab:orange"
        edge = {"edgecolor": "black", "linewidth": 1.5} if bar["chosen"] else {}
        axes.barh(place, bar["value"] or 0.0, color=colour, alpha=0.7, **edge)
        if bar["low"] is not None:
            axes.plot([bar["low"], bar["high"]], [place, place], color="black", linewidth=1)
    if data["noise_floor"] is not None:
        for side in (-1, 1):
            axes.axvline(side * data["noise_floor"], color="0.6", linewidth=0.8, linestyle="--")
    axes.set_yticks(range(len(shown)), [bar["address"] for bar in shown], fontsize=8)
    axes.invert_yaxis()
    marked = "\nframed: to be tuned" if any(bar["chosen"] for bar in shown) else ""
    axes.set_xlabel(f"{data['figure']}, with {100 * data['confidence']:.0f} % intervals{marked}")
    write_figure(figure, folder / "bars.png")
    files.write_json(folder / "bars.json", data)
