"""A map of the model: its blocks as a strip, their parts inside, and what is tuned outlined."""

import textwrap
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ablate2tune.components import Catalogue, Component
from ablate2tune.localize.ranking.figures import new_strips, write_figure
from ablate2tune.localize.ranking.ordering import ordering
from ablate2tune.localize.ranking.ranking_figures import effect

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEW = 20
"""Blocks up to which numbers stand in the cells."""
UNMEASURED = "#ececec"
LETTERS = 15
"""Characters of the title to an inch of the picture."""


class Cell(NamedTuple):
    """One part of one block."""

    colour: float | None
    """From -1 to 1: its impact as a share of the largest; None where it was not measured."""
    tuned: bool


class Strip(NamedTuple):
    """One stack of blocks, left to right; the parts of a block top to bottom."""

    stack: str
    rows: list[str]
    """Names of the parts below the block: "block", "attn", "attn.to_q"; in model order."""
    columns: list[str]
    """Indices of the blocks."""
    cells: dict[tuple[int, int], Cell]
    """By row and column; blocks of one stack need not have the same parts."""


def strips_of(
    catalogue: Catalogue, values: Mapping[str, float | None], tuned: Collection[str]
) -> list[Strip]:
    """What the map shows, stack by stack.

    Args:
        catalogue: the model's components.
        values: impacts by address.
        tuned: addresses of the linear layers that an adapter sits on.
    """
    largest = max((abs(value) for value in values.values() if value is not None), default=0.0)
    found = []
    for stack, blocks in catalogue.stacks.items():
        placed: list[tuple[str, int, Cell]] = []
        for column, block in enumerate(blocks):
            for part in _parts(catalogue, block):
                name = part.address.removeprefix(block.address).lstrip(".") or "block"
                value = values.get(part.address)
                colour = value / largest if value is not None and largest else value
                outlined = part.linears == (part.address,) and part.address in tuned
                placed.append((name, column, Cell(colour, outlined)))
        order = {name: row for row, name in enumerate(_ordered(name for name, *_ in placed))}
        cells = {(order[name], column): cell for name, column, cell in placed}
        found.append(Strip(stack, list(order), [str(b.index) for b in blocks], cells))
    return found


def write_map(
    ranking: dict[str, Any], catalogue: Catalogue, tuned: Collection[str], path: Path
) -> None:
    """Draw the map as a PNG, coloured by what the ranking is ordered by.

    Args:
        ranking: the contents of ranking.json; without components all parts are grey.
        catalogue: the model's components.
        tuned: addresses of the linear layers that an adapter sits on.
        path: the PNG.

    Raises:
        UserError: the file cannot be written.
    """
    rows, legend = ranking.get("components", []), "grey: nothing was ranked"
    values: dict[str, float | None] = {}
    if rows:
        by = ordering(ranking)
        values = {row["address"]: by.of(row)["value"] for row in rows}
        what = effect(ranking) if by.key == ranking["figure"] else by.title
        legend = f"colour: {what}, % of the largest, blue below zero; grey: not measured by itself"
    strips = strips_of(catalogue, values, tuned)
    columns = [len(strip.columns) for strip in strips]
    deepest = max(len(strip.rows) for strip in strips)
    cell = min(0.55, max(0.2, 9 / sum(columns)))
    width = max(6.0, sum(cell * count + 1.7 for count in columns) + 0.4)
    linears = {name for block in catalogue.blocks for name in block.linears}
    title = f"{len(linears & set(tuned))} of {len(linears)} linear layers are tuned: outlined"
    lines = [title, *textwrap.wrap(legend, int(LETTERS * width))]
    figure, axes = new_strips(width, 0.24 * deepest + 0.8 + 0.18 * len(lines), columns)
    for strip, place in zip(strips, axes, strict=True):
        _draw(place, strip, deepest, numbers=sum(columns) <= FEW)
    figure.suptitle("\n".join(lines), fontsize=8.5)
    write_figure(figure, path)


def _parts(catalogue: Catalogue, block: Component) -> list[Component]:
    """A block and all parts below it, each sub-layer before its projections."""
    found = [block]
    for sublayer in catalogue.children(block):
        found += [sublayer, *catalogue.children(sublayer)]
    return found


def _ordered(names: Iterable[str]) -> list[str]:
    """The names of the parts of unlike blocks, once each: a sub-layer's together."""
    together: dict[str, dict[str, None]] = {}
    for name in names:
        together.setdefault(name.partition(".")[0], {})[name] = None
    return [name for group in together.values() for name in group]


def _draw(axes: "Axes", strip: Strip, deepest: int, numbers: bool) -> None:
    """One stack, drawn as high as the `deepest` one, so that parts are equally high."""
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    scale, count = colormaps["RdBu_r"], len(strip.columns)
    for (row, column), cell in strip.cells.items():
        inset = 0.16 if "." in strip.rows[row] else 0.06
        corner, size = (column + inset, row + 0.06), (1 - 2 * inset, 0.88)
        face = UNMEASURED if cell.colour is None else scale(0.5 + 0.5 * cell.colour)
        axes.add_patch(Rectangle(corner, *size, facecolor=face, linewidth=0))
        if cell.tuned:
            outline = Rectangle(corner, *size, fill=False, edgecolor="black", linewidth=1.8)
            axes.add_patch(outline)
        if numbers and cell.colour is not None:
            ink = "white" if abs(cell.colour) > 0.6 else "black"
            place, words = (column + 0.5, row + 0.5), f"{100 * cell.colour:+.0f}"
            axes.text(*place, words, color=ink, fontsize=6, ha="center", va="center")
    for column in range(count):
        corner, size = (column + 0.01, 0), (0.98, len(strip.rows))
        axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor="0.7", linewidth=0.6))
    axes.set_xlim(0, count)
    axes.set_ylim(deepest, 0)
    shown = range(0, count, max(1, count // 10))
    axes.set_xticks([x + 0.5 for x in shown], [strip.columns[x] for x in shown], fontsize=7)
    names = [f"· {name.split('.', 1)[1]}" if "." in name else name for name in strip.rows]
    axes.set_yticks([y + 0.5 for y in range(len(names))], names, fontsize=7)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel(strip.stack, fontsize=8)
    axes.tick_params(length=0)
    for side in ("top", "right", "bottom", "left"):
        axes.spines[side].set_visible(False)
