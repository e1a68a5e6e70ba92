"""The ranking for people: a terminal table, a CSV file and a heat map."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from ablate2tune import runs
from ablate2tune.ablation import MODES
from ablate2tune.localize.ranking import figures

CSV_COLUMNS = (
    *("rank", "rank_in_level", "address", "level", "mode", "label"),
    *("target", "target_low", "target_high", "target_relative"),
    *("control", "control_low", "control_high", "control_relative"),
    *("quality", "quality_low", "quality_high", "quality_relative"),
    *("specificity", "p", "p_uncorrected", "parameters"),
)
PATCHED_COLUMNS = (
    *("recovered", "recovered_low", "recovered_high"),
    *("corrupted", "corrupted_low", "corrupted_high"),
)


def is_patched(ranking: dict[str, Any]) -> bool:
    """Whether the ranking is by what patching restores, not by what ablation takes away."""
    return any(MODES[row["mode"]].restores for row in ranking["components"])


def effect(ranking: dict[str, Any]) -> str:
    """What an impact is, for the pictures' titles."""
    if is_patched(ranking):
        return "target margin restored by the component"
    return "target margin lost without the component"


def table(ranking: dict[str, Any], top: int | None = None) -> Table:
    """Components and what the model loses without them; fits 80 columns.

    The baseline's row gives its margins and loss; the others are in percent of these: margin
    lost, and loss gained under "overall". Intervals are of the target margin, in percent. Of a
    ranking by patching: margin restored in the foil's run, and broken in the true caption's.

    Args:
        ranking: the contents of ranking.json.
        top: show that many components of each level; all by default.
    """
    patched = is_patched(ranking)
    lost = "what is lost without a component, % of the baseline's margin"
    restored = "what a component of the true caption's run restores, % of the margin"
    overall = "back: broken in the true caption's run" if patched else "overall: rise of the loss"
    result = Table(
        title=restored if patched else lost,
        caption=f"target, control: margins over the foils; {overall}",
        box=box.SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
        show_edge=False,
    )
    result.add_column("component", overflow="fold")
    for name in ("target", "control", "back" if patched else "overall"):
        result.add_column(name, justify="right", no_wrap=True)
    result.add_column("interval", justify="right", no_wrap=True)
    result.add_column("label", no_wrap=True)
    base = ranking["baseline"]
    margin = base["target"]["value"]

    def interval(target: dict[str, float]) -> str:
        if base["target"]["low"] <= 0:
            return "–"
        return f"{100 * target['low'] / margin:.0f}..{100 * target['high'] / margin:.0f}"

    result.add_row(
        "(baseline)",
        _scientific(margin),
        _scientific(base["control"]["value"]),
        f"{-base['quality']['value']:.3f}",
        interval(base["target"]),
    )
    for level in ("block", "sublayer", "head"):
        rows = [row for row in ranking["components"] if row["level"] == level]
        rows.sort(key=lambda row: row["rank_in_level"])
        if rows:
            result.add_section()
        for row in rows[:top]:
            relative = row["relative"]
            back = row["patched"]["corrupted"]["value"] if row.get("patched") else None
            result.add_row(
                row["address"],
                _percent(relative["target"]),
                _percent(relative["control"]),
                _percent(back if patched else relative["quality"]),
                interval(row["target"]),
                row["label"].removesuffix(" for everything"),
            )
    return result


def _percent(fraction: float | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:+.0f}%"


def _scientific(value: float) -> str:
    """In the fewest characters: 2.0e-4."""
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def write_csv(ranking: dict[str, Any], path: Path) -> None:
    """Write the components as a CSV file, one row each, intervals in columns of their own."""
    text = io.StringIO()
    columns = (*CSV_COLUMNS, *(PATCHED_COLUMNS if is_patched(ranking) else ()))
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in ranking["components"]:
        flat = dict(row)
        for name in ("target", "control", "quality"):
            flat |= {
                name: row[name]["value"],
                f"{name}_low": row[name]["low"],
                f"{name}_high": row[name]["high"],
                f"{name}_relative": row["relative"][name],
            }
        for name, share in row.get("patched", {}).items():
            flat |= {name: share["value"], f"{name}_low": share["low"]}
            flat[f"{name}_high"] = share["high"]
        writer.writerow(flat)
    runs.write_text(path, text.getvalue())


def write_heatmap(ranking: dict[str, Any], blocks: list[str], path: Path) -> None:
    """Write the target impacts as a picture, blocks by sub-layers, 150 dpi.

    Args:
        ranking: the contents of ranking.json.
        blocks: addresses of all blocks, in model order.
        path: the PNG. Cells that were not swept stay blank.
    """
    cells, columns = heatmap_cells(ranking, blocks)
    figures.write_heatmap(
        100 * cells,
        blocks,
        columns,
        effect(ranking),
        "% of the baseline's margin",
        path,
    )


def heatmap_cells(ranking: dict[str, Any], blocks: list[str]) -> tuple[np.ndarray, list[str]]:
    """Relative target impacts, float (blocks, columns), nan where not swept; column names.

    The first column is the whole block; then the sub-layers' names in order of their addresses.
    """
    places: list[tuple[int, str, float]] = []
    for row in ranking["components"]:
        if row["level"] not in ("block", "sublayer"):
            continue
        address = row["address"]
        block = next(b for b in blocks if f"{address}.".startswith(f"{b}."))
        name = address.removeprefix(f"{block}.") if address != block else "block"
        value = row["relative"]["target"]
        places.append((blocks.index(block), name, np.nan if value is None else value))
    columns = ["block", *sorted({name for _, name, _ in places} - {"block"})]
    cells = np.full((len(blocks), len(columns)), np.nan)
    for row, name, value in places:
        cells[row, columns.index(name)] = value
    return cells, columns
