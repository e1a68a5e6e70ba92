"""The picture of a study: its figure against parameters, with intervals."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ablate2tune.localize.ranking.figures import new_figure, write_figure
from ablate2tune.study.experiment import Experiment
from ablate2tune.study.running import DONE

ASIDE = 1.015
"""Times its size at which a setting is drawn for each before it of that size, so as to be seen."""

DECADE = 8
"""From so many times on, between the sizes, a tick at each number of one digit is too many."""


def write_curves(study: Mapping[str, Any], experiment: Experiment, path: Path) -> None:
    """Write a PNG: a curve through each arm's budgets, every cell a dot, the untouched a line.

    Settings with a changed key are drawn as points beside the arm that they depart from. Where
    models differ in size, they stand at their size, and a power law is drawn where one was fitted;
    it is a straight line, since both axes are logarithmic then.

    Args:
        study: the contents of study.json.
        experiment: says what the figures are.
        path: the PNG.
    """
    from matplotlib.ticker import EngFormatter, LogLocator, NullLocator, ScalarFormatter  # slow

    figure, axes = new_figure(10.5, 5)
    size = experiment.size or "parameters"
    drawn = [e for e in study["settings"] if {experiment.figure, size} <= set(e)]
    drawn = [entry for entry in drawn if not entry["on_grid"]]
    curves: dict[str, list[Mapping[str, Any]]] = {}
    for entry in drawn:
        name = entry["setting"] if entry["axis"] or entry["arm"] is None else entry["arm"]
        curves.setdefault(name, []).append(entry)
    beside: list[Mapping[str, Any]] = []
    for number, (name, entries) in enumerate(curves.items()):
        colour = f"C{number % 10}"
        entries = sorted(entries, key=lambda entry: entry[size]["value"])
        aside = ASIDE ** sum(other[size] == entries[0][size] for other in beside)
        beside += entries
        x = [entry[size]["value"] * aside for entry in entries]
        y = [entry[experiment.figure]["value"] for entry in entries]
        marker = "o" if number < 10 else "s"
        axes.plot(x, y, color=colour, marker=marker, linewidth=1.2, markersize=5, label=name)
        for place, entry in zip(x, entries, strict=True):
            bounds = entry[experiment.figure]
            if bounds["low"] is not None:
                ends = [bounds["low"], bounds["high"]]
                axes.plot([place, place], ends, color=colour, linewidth=1.2, alpha=0.8)
        settings = {entry["setting"] for entry in entries}
        cells = [c for c in study["cells"] if c["setting"] in settings and c["status"] == DONE]
        dots = [cell[size] * aside for cell in cells], [cell[experiment.figure] for cell in cells]
        axes.scatter(*dots, color=colour, s=16, alpha=0.45, linewidths=0)
    if study["untouched"]:
        value = study["untouched"][experiment.figure]
        axes.axhline(value, color="0.5", linewidth=0.8, linestyle="--", label="untouched")
    if law := study["law"]:
        ends = [min(e[size]["value"] for e in drawn), max(e[size]["value"] for e in drawn)]
        fitted = [law["factor"] * x ** -law["exponent"]["value"] for x in ends]
        exponent = f"size ^ {-law['exponent']['value']:.3f}"
        axes.plot(ends, fitted, color="0.5", linewidth=0.8, linestyle=":", label=exponent)
    if drawn:
        axes.set_xscale("log")
        if study["law"]:
            axes.set_yscale("log")
            axes.yaxis.set_minor_formatter(ScalarFormatter())
        low, high = axes.get_xlim()
        steps = (1, 2, 5) if high > DECADE * low else range(1, 10)
        axes.xaxis.set_major_locator(LogLocator(subs=steps))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    axes.set_xlabel("trainable parameters" if experiment.size is None else size.replace("_", " "))
    axes.set_ylabel(experiment.title)
    share, seeds = study["confidence"], len(study["seeds"])
    means = f"means with {share:.0%} intervals over {seeds} seeds" if seeds > 1 else "one seed"
    axes.set_title(f"{means}; small dots are cells", fontsize=9)
    write_figure(figure, path)
