"""What the pictures share: a figure that becomes a PNG, a heat map, a mean with its interval."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ablate2tune import files

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150


def new_figure(width: float, height: float) -> tuple["Figure", "Axes"]:
    """An empty figure with one pair of axes; sizes in inches."""
    figure = _empty(width, height)
    return figure, figure.add_subplot()


def new_panels(width: float, height: float, count: int) -> tuple["Figure", list["Axes"]]:
    """An empty figure with panels one above the other over one x axis; sizes in inches."""
    figure = _empty(width, height)
    return figure, list(figure.subplots(count, sharex=True, squeeze=False)[:, 0])


def new_strips(
    width: float, height: float, columns: Sequence[int]
) -> tuple["Figure", list["Axes"]]:
    """An empty figure with panels side by side, as wide as they have columns; sizes in inches."""
    figure = _empty(width, height)
    ratios = {"width_ratios": columns}
    return figure, list(figure.subplots(1, len(columns), squeeze=False, gridspec_kw=ratios)[0])


def _empty(width: float, height: float) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI)
    FigureCanvasAgg(figure)
    return figure


def write_figure(figure: "Figure", path: Path) -> None:
    """Write a figure as a PNG, 150 dpi.

    Raises:
        UserError: the file cannot be written.
    """
    figure.tight_layout()
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    files.write_bytes(path, stream.getvalue())


def write_heatmap(
    cells: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    label: str,
    path: Path,
    framed: Sequence[tuple[int, int]] = (),
    digits: int = 0,
) -> None:
    """Write figures as a coloured table, zero white.

    Args:
        cells: float, (rows, columns); nan cells stay blank.
        rows: names, top to bottom.
        columns: names, left to right.
        title: what the picture shows.
        label: what the figures are, with their unit.
        path: the PNG.
        framed: (row, column) of cells that stand out.
        digits: decimals of the figures.
    """
    from matplotlib.patches import Rectangle

    shown = np.ma.masked_invalid(cells)
    limit = max(10.0**-digits, float(np.abs(shown).max())) if shown.count() else 1.0
    longest = max(map(len, columns), default=0)
    column = min(1.1, 0.4 + 0.1 * longest)
    figure, axes = new_figure(
        3.2 + column * len(columns), 1.8 + 0.34 * len(rows) + 0.03 * max(0, longest - 12)
    )
    image = axes.imshow(shown, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right")
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xticks([x - 0.5 for x in range(1, len(columns))], minor=True)
    axes.set_yticks([y - 0.5 for y in range(1, len(rows))], minor=True)
    axes.grid(which="minor", color="0.85", linewidth=0.8)
    axes.tick_params(which="minor", length=0)
    for (row, column), value in np.ndenumerate(shown.filled(np.nan)):
        if np.isfinite(value):
            colour = "white" if abs(value) > 0.6 * limit else "black"
            axes.text(
                column,
                row,
                f"{value:+.{digits}f}",
                ha="center",
                va="center",
                color=colour,
                fontsize=8,
            )
    for row, column in framed:
        corner = (column - 0.5, row - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor="black", linewidth=2))
    axes.set_title(title)
    figure.colorbar(image, ax=axes, label=label)
    write_figure(figure, path)


def bounds_of(intervals: Sequence[dict[str, Any] | None]) -> np.ndarray:
    """Value, low and high of intervals: float, (3, n); nan where there is none."""
    names = ("value", "low", "high")
    rows = [[np.nan] * 3 if one is None else [one[name] for name in names] for one in intervals]
    return np.array(rows, float).reshape(len(rows), 3).T
