"""What a study will take, told before it begins."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from ablate2tune import files
from ablate2tune.study.cells import Cell, recipe_of
from ablate2tune.study.experiment import Experiment, NoCellError, Run, Studied
from ablate2tune.study.running import DONE, OUTCOME, outcome_of

BESIDE = 1.3
"""Of the time of a cell's steps: validation, checkpoints and measuring, where no cell told it."""
OF_A_CELL = 0.2
"""Of a cell's time: a shared run (a ranking), which has no steps to reckon it by. The main job
allows `localize` as much."""


def told_price(
    studied: Studied,
    experiment: Experiment,
    cells: Sequence[Cell],
    shared: Sequence[Run],
    processes: int,
) -> str:
    """One line: how many cells, how many minutes, and how that is known.

    By what finished cells took, if there are any; else by a few steps, which are run for it.
    """
    finished = _finished(studied.folder, experiment)
    steps = [experiment.steps(recipe_of(studied.recipe, cell)) for cell in cells]
    if finished:
        each = mean(cost["seconds"] / cost["steps"] for cost in finished)
        how = f"by the {len(finished)} that are there"
    else:
        each = BESIDE * experiment.trial(studied, cells)
        how = "by a few steps that were run for it"
    runs = sum(outcome_of(run) is None for run in shared)
    missing = len(cells) if runs else sum(_is_missing(studied, experiment, cell) for cell in cells)
    seconds = each * mean(steps) * (missing + OF_A_CELL * runs)
    beside = f" and {runs} runs that they share" if runs else ""
    over = f" on {processes} processes" if processes > 1 else ""
    return (
        f"price: {missing} of {len(cells)} cells{beside}, about "
        f"{seconds / 60 / processes:.3g} min{over}, {how}"
    )


def _is_missing(studied: Studied, experiment: Experiment, cell: Cell) -> bool:
    try:
        return outcome_of(experiment.settle(studied, cell)) is None
    except NoCellError:
        return False


def _finished(folder: Path, experiment: Experiment) -> list[dict[str, Any]]:
    found = sorted(folder.glob(f"cells/*/{OUTCOME}"))
    return [
        experiment.costs(path.parent) for path in found if files.read_json(path)["status"] == DONE
    ]
