"""The ranking by pictures for people: a terminal table, a CSV file, and metrics over the layers."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from ablate2tune import runs
from ablate2tune.components import Catalogue
from ablate2tune.localize.ranking.figures import bounds_of, new_figure, write_figure

SCHEMA = "ablate2tune/generate/2"
BASELINE = "(baseline)"
TITLES = {
    "target": "relation and objects right",
    "objects": "both objects right",
    "relation_given_objects": "relation right, given the objects",
    "clip_score": "CLIP score (cosine)",
    "fid": "FID",
    "frechet_clip": "Fréchet distance on CLIP features",
}
"""What each figure is, by its name in the files."""
COLUMNS = {
    "target": "relation",
    "objects": "objects",
    "relation_given_objects": "rel.|obj.",
    "clip_score": "CLIP",
    "fid": "FID",
    "frechet_clip": "Fréchet CLIP",
}
"""Heads of the terminal table."""


def table(ranking: dict[str, Any], top: int | None = None) -> Table:
    """Every component's figures beside the baseline's; fits 80 columns.

    Accuracies are in percent of the pictures, CLIP scores are cosines.

    Args:
        ranking: the contents of ranking.json.
        top: show that many components of each level; all by default.
    """
    names = [name for name in COLUMNS if name in ranking["baseline"]]
    result = Table(
        title="pictures drawn without a component",
        caption=f"ranked by {TITLES.get(ranking['ranked_by'], ranking['ranked_by'])}",
        box=box.SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
        show_edge=False,
    )
    result.add_column("component", overflow="fold")
    for name in names:
        result.add_column(COLUMNS[name], justify="right", no_wrap=True)
    result.add_column("label", no_wrap=True)
    result.add_row(BASELINE, *(_short(name, ranking["baseline"][name]) for name in names), "")
    for level in ("block", "sublayer"):
        rows = [row for row in ranking["components"] if row["level"] == level]
        rows.sort(key=lambda row: row["rank_in_level"])
        if rows:
            result.add_section()
        for row in rows[:top]:
            result.add_row(
                row["address"],
                *(_short(name, row["figures"][name]) for name in names),
                row["label"].removesuffix(" for everything"),
            )
    return result


def _short(name: str, figure: Any) -> str:
    value = _value(figure)
    if value is None:
        return "–"
    if name == "clip_score":
        return f"{value:.3f}"
    return f"{value:.1f}" if name in ("fid", "frechet_clip") else f"{100 * value:.0f}%"


def _value(figure: Any) -> float | None:
    return figure["value"] if isinstance(figure, dict) else figure


def write_csv(ranking: dict[str, Any], path: Path) -> None:
    """Write the baseline and the components as a CSV file, one row each.

    A figure NAME has the columns NAME, NAME_low and NAME_high, and NAME_loss for what is lost
    against the baseline (for distances: what is added); distances have no interval.
    """
    names = [name for name in TITLES if name in ranking["baseline"]]
    intervals = [name for name in names if isinstance(ranking["baseline"][name], dict)]
    columns = ["rank", "rank_in_level", "address", "level", "mode", "label", "p"]
    for name in names:
        ends = [f"{name}_low", f"{name}_high"] if name in intervals else []
        columns += [name, *ends, f"{name}_loss"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    whole = {"address": BASELINE, "mode": "none", "figures": ranking["baseline"], "loss": {}}
    for row in [whole, *ranking["components"]]:
        flat = dict(row)
        for name in names:
            figure = row["figures"][name]
            flat |= {name: _value(figure), f"{name}_loss": _value(row["loss"].get(name))}
            if name in intervals:
                flat |= {f"{name}_low": figure["low"], f"{name}_high": figure["high"]}
        writer.writerow(flat)
    runs.write_text(path, text.getvalue())


def layers_data(ranking: dict[str, Any], catalogue: Catalogue) -> dict[str, Any]:
    """What the picture shows: each figure over the blocks, a line per kind of component.

    Args:
        ranking: the contents of ranking.json.
        catalogue: the model's components, for the order of the blocks.
    """
    blocks = [block.address for block in catalogue.blocks]
    names = [name for name in TITLES if name in ranking["baseline"]]
    lines: dict[str, dict[str, dict[str, Any]]] = {}
    for row in ranking["components"]:
        block = catalogue[row["address"]].block
        kind = row["address"].removeprefix(block).lstrip(".") or "block"
        lines.setdefault(kind, {})[block] = row["figures"]
    order = ["block", *sorted(lines.keys() - {"block"})]
    return {
        "schema": SCHEMA,
        "figure": "pictures drawn without one component, by block",
        "confidence": ranking["confidence"],
        "blocks": blocks,
        "metrics": [
            {
                "name": name,
                "title": TITLES[name],
                "baseline": _interval(ranking["baseline"][name]),
                "lines": [
                    {
                        "kind": kind,
                        "points": [
                            _interval(lines[kind][block][name]) if block in lines[kind] else None
                            for block in blocks
                        ],
                    }
                    for kind in order
                    if kind in lines
                ],
            }
            for name in names
        ],
    }


def _interval(figure: Any) -> dict[str, Any]:
    if isinstance(figure, dict):
        return {name: figure[name] for name in ("value", "low", "high")}
    return {"value": figure, "low": None, "high": None}


def write_layers(ranking: dict[str, Any], catalogue: Catalogue, folder: Path) -> None:
    """Write generate.json and generate.png (150 dpi), a panel per figure, below `folder`."""
    data = layers_data(ranking, catalogue)
    runs.write_json(folder / "generate.json", data)
    blocks, metrics = data["blocks"], data["metrics"]
    width = 4 + 0.28 * len(blocks)
    figure, _ = new_figure(width, 0.6 + 2.4 * len(metrics))
    figure.clear()
    panels = np.atleast_1d(figure.subplots(len(metrics), 1, sharex=True))
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
    write_figure(figure, folder / "generate.png")
