"""Figures over the layers: a panel per figure, a line per kind of component."""

from pathlib import Path
from typing import Any

import numpy as np

from ablate2tune import files
from ablate2tune.components import Catalogue
from ablate2tune.localize.ranking.figures import bounds_of, new_panels, write_figure
from ablate2tune.localize.ranking.ranking_figures import BASELINE

SCHEMA = "ablate2tune/layers/1"


def layers_data(ranking: dict[str, Any], catalogue: Catalogue) -> dict[str, Any]:
    """What the picture shows: each figure over the blocks, a line per kind of component.

    Heads have a picture of their own (`findings.head_table`).

    Args:
        ranking: the contents of ranking.json, of a probe whose figures are shown themselves.
        catalogue: the model's components, for the order of the blocks.
    """
    blocks = [block.address for block in catalogue.blocks]
    lines: dict[str, dict[str, dict[str, Any]]] = {}
    for row in (row for row in ranking["components"] if row["level"] != "head"):
        block = catalogue[row["address"]].block
        kind = row["address"].removeprefix(block).lstrip(".") or "block"
        lines.setdefault(kind, {})[block] = row["values"]
    order = ["block", *sorted(lines.keys() - {"block"})]
    return {
        "schema": SCHEMA,
        "figure": f"{ranking['title']}, by block",
        "confidence": ranking["confidence"],
        "blocks": blocks,
        "metrics": [
            {
                "name": figure["name"],
                "title": figure["title"],
                "baseline": ranking["baseline"][figure["name"]],
                "lines": [
                    {
                        "kind": kind,
                        "points": [lines[kind].get(b, {}).get(figure["name"]) for b in blocks],
                    }
                    for kind in order
                    if kind in lines
                ],
            }
            for figure in ranking["figures"]
            if figure["head"] and figure["name"] in ranking["baseline"]
        ],
    }


def write_layers(ranking: dict[str, Any], catalogue: Catalogue, folder: Path) -> None:
    """Write layers.json and layers.png (150 dpi) below `folder`."""
    data = layers_data(ranking, catalogue)
    files.write_json(folder / "layers.json", data)
    blocks, metrics = data["blocks"], data["metrics"]
    figure, panels = new_panels(4 + 0.28 * len(blocks), 0.6 + 2.4 * len(metrics), len(metrics))
    for axes, metric in zip(panels, metrics, strict=True):
        whole = bounds_of([metric["baseline"]])
        axes.axhline(whole[0, 0], color="black", linestyle="--", linewidth=1, label=BASELINE)
        if np.isfinite(whole).all():
            axes.axhspan(whole[1, 0], whole[2, 0], color="0.9")
        for line in metric["lines"]:
            value, low, high = bounds_of(line["points"])
            places = np.flatnonzero(np.isfinite(value))
            (drawn,) = axes.plot(places, value[places], marker="o", markersize=3)
            drawn.set_label(line["kind"])
            ends = places[np.isfinite(low[places])]
            axes.vlines(ends, low[ends], high[ends], color=drawn.get_color(), linewidth=0.8)
        axes.set_title(metric["title"], fontsize=9)
    panels[0].legend(fontsize=7)
    panels[-1].set_xticks(range(len(blocks)), blocks, rotation=90, fontsize=7)
    write_figure(figure, folder / "layers.png")
