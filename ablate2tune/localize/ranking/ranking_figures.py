"""The ranking for people: a terminal table, a CSV file and a heat map."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from ablate2tune import files
from ablate2tune.ablation import MODES
from ablate2tune.localize.ranking import figures
from ablate2tune.localize.ranking.ordering import Ordering, chosen, ordering

BASELINE = "(baseline)"
LEVELS = ("block", "sublayer", "head", "projection")
SHORT = {"specificity": "specific"}
"""Heads of columns that must fit 80 characters."""


def is_patched(ranking: dict[str, Any]) -> bool:
    """Whether the ranking is by what patching restores, not by what ablation takes away."""
    return any(MODES[row["mode"]].restores for row in ranking["components"])


def effect(ranking: dict[str, Any]) -> str:
    """What an impact is, for the pictures' titles."""
    title = next(f["title"] for f in ranking["figures"] if f["name"] == ranking["figure"])
    if is_patched(ranking):
        return f"{title}, restored by the component"
    return f"{title}, lost without the {taken(ranking)}"


def taken(ranking: dict[str, Any]) -> str:
    """What was taken away: "component", or what the mode of the rows says."""
    return next((MODES[row["mode"]].taken for row in ranking["components"]), "component")


def table(ranking: dict[str, Any], top: int | None = None) -> Table:
    """The ranking for the terminal: figures themselves where it has them, else what is lost.

    Args:
        ranking: the contents of ranking.json.
        top: show that many components of each level; all by default.
    """
    if ranking["shows_values"]:
        return _values_table(ranking, top)
    return _losses_table(ranking, top)


def _losses_table(ranking: dict[str, Any], top: int | None = None) -> Table:
    """Components and what the model loses without them; fits 80 columns.

    What they are ordered by comes first, with its interval: the gain in percent of the largest,
    all else in percent of the baseline's row, which gives margins and loss: margin lost, and loss
    gained under "loss". Of a ranking by patching: margin restored in the foil's run, and broken
    in the true caption's. Where the ranking holds a set, the last column tells each one's place.
    """
    patched = is_patched(ranking)
    lost = f"what is lost without a {taken(ranking)}, % of the baseline's margin"
    restored = "what a component of the true caption's run restores, % of the margin"
    overall = "back: broken in the true caption's run" if patched else "loss: its rise"
    by = ordering(ranking)
    place_is_open = _open(ranking)
    measured = [name for name in ("target", "control") if name in ranking["baseline"]]
    foils = ranking.get("foils", {})
    named = [f"{name} ({foils[name]})" if name in foils else name for name in measured]
    result = Table(
        title=restored if patched else lost,
        caption=f"ordered by {by.column}: {by.title}\n"
        f"{', '.join(named)}: margins over the foils; {overall}"
        + (f"\n{OPEN}: place among those to be tuned is open" if place_is_open else ""),
        box=box.SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
        show_edge=False,
    )
    result.add_column("component", overflow="fold")
    names = [*measured, "back" if patched else "loss"]
    first = SHORT.get(by.column, by.column)
    for name in [first, "interval", *(name for name in names if name != by.column)]:
        result.add_column(name, justify="right", no_wrap=True)
    result.add_column("label", no_wrap=True)
    places = {entry["address"]: str(n) for n, entry in enumerate(ranking.get("set", []), start=1)}
    if places:
        result.add_column("set", justify="right")
    base = ranking["baseline"]
    whole = _whole(ranking, by)

    def ordered(found: dict[str, Any]) -> list[str]:
        if whole is None or found["value"] is None:
            return ["–", "–"]
        value, low, high = (100 * found[end] / whole for end in ("value", "low", "high"))
        return [f"{value:+.0f}%", f"{low:.0f}..{high:.0f}"]

    margins = [_scientific(base[name]["value"]) for name in measured]
    loss = f"{-base['quality']['value']:.3f}"
    if by.column == "target":
        result.add_row(BASELINE, margins[0], ordered(base["target"])[1], *margins[1:], loss)
    else:
        result.add_row(BASELINE, "", "", *margins, loss)
    for rows in _by_level(ranking):
        result.add_section()
        for row in rows[:top]:
            relative = row["relative"]
            back = row["patched"]["corrupted"]["value"] if row.get("patched") else None
            shown = [name for name in measured if name != by.column]
            result.add_row(
                row["address"],
                *ordered(by.of(row)),
                *(_percent(relative[name]) for name in shown),
                _percent(back if patched else relative["quality"]),
                _label(row, place_is_open),
                *([places.get(row["address"], "")] if places else []),
            )
    return result


OPEN = "?"
"""After the label of a component of which it is open whether it is among those to be tuned."""


def _open(ranking: dict[str, Any]) -> set[str]:
    """Addresses whose place is open."""
    return set((ranking.get("decided") or {}).get("open", []))


def _label(row: dict[str, Any], place_is_open: set[str]) -> str:
    label = row["label"].removesuffix(" for everything")
    return f"{label} {OPEN}" if row["address"] in place_is_open else label


def _whole(ranking: dict[str, Any], by: Ordering) -> float | None:
    """What is 100 %; None where nothing can be told of it."""
    if by.key == "gain":
        return max((abs(by.of(row)["value"]) for row in ranking["components"]), default=None)
    if by.key == "specificity_interval":
        return 1.0  # shares already
    base = ranking["baseline"][by.key]
    return base["value"] if base["low"] > 0 else None


def _percent(fraction: float | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:+.0f}%"


def _scientific(value: float) -> str:
    """In the fewest characters: 2.0e-4."""
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def _values_table(ranking: dict[str, Any], top: int | None) -> Table:
    """Every component's figures beside the baseline's."""
    shown = [f for f in ranking["figures"] if f["head"] and f["name"] in ranking["baseline"]]
    result = Table(
        title=ranking["title"],
        caption=f"ranked by {ranking['ranked_by']}: {effect(ranking)}",
        box=box.SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
        show_edge=False,
    )
    result.add_column("component", overflow="fold")
    for figure in shown:
        result.add_column(figure["head"], justify="right", no_wrap=True)
    result.add_column("label", no_wrap=True)

    def cells(values: dict[str, Any]) -> list[str]:
        found = (values.get(figure["name"]) for figure in shown)
        return [
            "–" if one is None else figure["shown"].format(one["value"])
            for figure, one in zip(shown, found, strict=True)
        ]

    result.add_row(BASELINE, *cells(ranking["baseline"]), "")
    for rows in _by_level(ranking):
        result.add_section()
        for row in rows[:top]:
            result.add_row(row["address"], *cells(row["values"]), _label(row, _open(ranking)))
    return result


def _by_level(ranking: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """Components of each level that has any, best first."""
    found = ([row for row in ranking["components"] if row["level"] == x] for x in LEVELS)
    return [sorted(rows, key=lambda row: row["rank_in_level"]) for rows in found if rows]


def write_csv(ranking: dict[str, Any], path: Path) -> None:
    """Write the components as a CSV file, one row each, intervals in columns of their own.

    A figure NAME has what is lost of it in NAME, NAME_low and NAME_high, its share of the
    baseline's in NAME_relative and, where the figures themselves are shown, the figure in
    NAME_value, NAME_value_low and NAME_value_high; the baseline's row has these alone. What the
    rows are ordered by comes before all other figures; a gain that was measured beside it, last.
    """
    names = [f["name"] for f in ranking["figures"] if f["name"] in ranking["baseline"]]
    shows_values = ranking["shows_values"]
    by = ordering(ranking)
    gained = any(row.get("gain") for row in ranking["components"])
    columns = ["rank", "rank_in_level", "address", "level", "mode", "label"]
    columns += [] if by.column in names else _ends(by.column)
    for name in names:
        columns += [*_ends(name), f"{name}_relative"]
        columns += _ends(f"{name}_value") if shows_values else []
    columns += ["specificity", "p", "p_uncorrected", "parameters"]
    columns += _ends("gain") if gained else []
    columns = list(dict.fromkeys(columns))
    if is_patched(ranking):
        columns += [*_ends("recovered"), *_ends("corrupted")]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    if shows_values:
        writer.writerow({"address": BASELINE, **_values(ranking["baseline"], names)})
    for row in ranking["components"]:
        flat = {**row, **dict.fromkeys(names)}
        for name in names:
            flat |= _flat(name, row.get(name))
            flat[f"{name}_relative"] = row["relative"].get(name)
        for name, share in row.get("patched", {}).items():
            flat |= _flat(name, share)
        if gained:
            flat |= _flat("gain", row["gain"])
        if by.column not in names:
            flat |= _flat(by.column, by.of(row))
        writer.writerow(flat | _values(row.get("values", {}), names))
    files.write_text(path, text.getvalue())


def _ends(name: str) -> list[str]:
    return [name, f"{name}_low", f"{name}_high"]


def _flat(name: str, interval: dict[str, Any] | None) -> dict[str, Any]:
    """An interval in columns of its own; empty for none."""
    ends = ("value", "low", "high")
    return dict(
        zip(_ends(name), (interval[end] if interval else None for end in ends), strict=True)
    )


def _values(values: dict[str, Any], names: list[str]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name in names:
        flat |= _flat(f"{name}_value", values.get(name))
    return flat


def write_heatmap(ranking: dict[str, Any], blocks: list[str], path: Path) -> None:
    """Write the relative impacts as a picture, blocks by sub-layers, 150 dpi.

    Args:
        ranking: the contents of ranking.json.
        blocks: addresses of all blocks, in model order.
        path: the PNG. Cells that were not swept stay blank.
    """
    cells, columns = heatmap_cells(ranking, blocks)
    places = [_cell(address, blocks) for address in chosen(ranking)]
    figures.write_heatmap(
        100 * cells,
        blocks,
        columns,
        effect(ranking) + ("; framed: to be tuned" if places else ""),
        "% of the baseline's",
        path,
        [(row, columns.index(name)) for row, name in places],
    )


def _cell(address: str, blocks: list[str]) -> tuple[int, str]:
    """The row of a component's block, and the name of its column."""
    block = next(b for b in blocks if f"{address}.".startswith(f"{b}."))
    name = address.removeprefix(f"{block}.") if address != block else "block"
    return blocks.index(block), name


def heatmap_cells(ranking: dict[str, Any], blocks: list[str]) -> tuple[np.ndarray, list[str]]:
    """Relative impacts, float (blocks, columns), nan where not swept; column names.

    The first column is the whole block, where blocks were swept; then come the names of the parts
    in order of their addresses.
    """
    places: list[tuple[int, str, float]] = []
    for row in ranking["components"]:
        if row["level"] not in ("block", "sublayer", "projection"):
            continue
        value = row["relative"].get(ranking["figure"])
        places.append((*_cell(row["address"], blocks), np.nan if value is None else value))
    names = {name for _, name, _ in places}
    columns = [*(["block"] if "block" in names or not names else []), *sorted(names - {"block"})]
    cells = np.full((len(blocks), len(columns)), np.nan)
    for row, name, value in places:
        cells[row, columns.index(name)] = value
    return cells, columns
