"""The picture of a repair: where models were damaged, where the ranking points, what came back.

    python benchmarks/repair_figure.py benchmarks/results/repair.json docs/repair.png

A row a case. Left, a column a block: the damaged ones are outlined, the colour is what is lost
without the block's adapters, as a share of the row's largest. Right, the share of the lost margin
that came back with --budget modules: the chosen ones, and random ones, each draw a dot.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from ablate2tune.files import read_json
from ablate2tune.localize.ranking.figures import new_strips, write_figure

CHOSEN, CHANCE = "#1a7f37", "#8c8c8c"


def main() -> None:
    """Read, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--budget", type=int, default=4)
    options = parser.parse_args()
    cases = read_json(options.results)["cases"]
    names = list(cases[0]["points_at"])
    figure, (strip, bars) = new_strips(11, 1.1 + 0.45 * len(cases), [3, 2])
    draw_strip(strip, cases, names)
    draw_bars(bars, cases, options.budget)
    write_figure(figure, options.picture)


def draw_strip(axes: Any, cases: Sequence[dict[str, Any]], names: Sequence[str]) -> None:
    """Where the damage is, and where the ranking points."""
    from matplotlib.patches import Rectangle

    impacts = np.array([[case["points_at"][name] or 0.0 for name in names] for case in cases])
    shares = np.clip(impacts, 0, None) / impacts.max(1, keepdims=True)
    axes.imshow(shares, cmap="Reds", vmin=0, vmax=1.15, aspect="auto")
    for row, case in enumerate(cases):
        for name in case["blocks"]:
            place = names.index(name) - 0.46, row - 0.42
            axes.add_patch(Rectangle(place, 0.92, 0.84, fill=False, linewidth=2.5))
    axes.set_title("outlined: the damaged blocks; red: where the scout points", fontsize=11)
    axes.set_xlabel("block (D: double, S: single)", fontsize=9)
    axes.set_xticks(range(len(names)), [short(name) for name in names], fontsize=8)
    axes.set_yticks(range(len(cases)), [label(case, names) for case in cases], fontsize=9)
    axes.tick_params(length=0)
    for edge in np.arange(-0.5, len(cases)):
        axes.axhline(edge, color="white", linewidth=4)


def draw_bars(axes: Any, cases: Sequence[dict[str, Any]], budget: int) -> None:
    """What came back."""
    for row, case in enumerate(cases):
        cells = [cell for cell in case["cells"] if cell["budget"] == budget]
        for arm, colour, up in (("guided", CHOSEN, -0.2), ("random", CHANCE, 0.2)):
            found = [100 * cell["share"] for cell in cells if cell["arm"] == arm]
            named = {"guided": "chosen by the scout", "random": "random"}[arm] if not row else None
            axes.barh(row + up, mean(found), height=0.36, color=colour, label=named)
            if len(found) > 1:
                axes.scatter(found, [row + up] * len(found), s=12, color="black", zorder=3)
    axes.set_title(f"% of the lost margin given back by {budget} modules", fontsize=11)
    axes.set_ylim(len(cases) - 0.5, -0.5)
    axes.set_yticks([])
    axes.set_xlim(left=0)
    axes.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.09), ncols=2, frameon=False)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def short(name: str) -> str:
    """A block's address, as a label.

    >>> short("single_transformer_blocks.3")
    'S3'
    """
    kind, number = name.rsplit(".", 1)
    return ("S" if kind.startswith("single") else "D") + number


def label(case: dict[str, Any], names: Sequence[str]) -> str:
    """What was damaged, in a word or two."""
    if len(case["blocks"]) == len(names):
        return "every block"
    return " ".join(short(name) for name in case["blocks"])


if __name__ == "__main__":
    main()
