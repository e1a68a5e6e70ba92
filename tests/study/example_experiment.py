"""An experiment of another package: a training that is a formula, so that a cell takes no time."""

from pathlib import Path
from typing import Any

from ablate2tune import files
from ablate2tune.errors import DivergedError, UserError
from ablate2tune.recipe import overridden
from ablate2tune.stage import Job, Stage
from ablate2tune.study.cells import Cell, recipe_of
from ablate2tune.study.experiment import EXPERIMENTS, Experiment, NoCellError, Run, Studied


def _learn(job: Job) -> None:
    train, seed = job.recipe.train, job.recipe.seed
    if train.learning_rate > 1:
        raise DivergedError(f"the loss is nan at step {train.steps}")
    if (job.folder.parents[2] / "no disk").exists():
        raise UserError("the disk is full")
    loss = 1 / train.rank + 0.01 * seed
    files.write_json(job.folder / "loss.json", {"loss": loss, "parameters": train.rank})


LEARN = Stage(
    name="learn",
    inputs=lambda recipe: {"train": recipe.train.decisive(), "seed": recipe.seed},
    work=_learn,
)


def _settle(studied: Studied, cell: Cell) -> Run:
    recipe = recipe_of(studied.recipe, cell)
    if recipe.train.rank == 13:
        raise NoCellError("13 divides nothing")
    name = files.content_hash(LEARN.inputs(recipe))
    own = {"name": name, "runs": str(studied.folder / "cells"), "study": {}}
    return Run(overridden(recipe, own, "study"), [LEARN], f"{cell.setting}, seed {cell.seed}")


def _figures(folder: Path) -> dict[str, Any]:
    return files.read_json(folder / "learn" / "loss.json")


EXPERIMENTS.add(
    "formula",
    Experiment(
        figure="loss",
        title="loss",
        higher_is_better=False,
        settle=_settle,
        figures=_figures,
        costs=lambda folder: {"seconds_per_step": 0.5, "seconds": 120.0, "steps": 60},
        trial=lambda studied, cells: 0.5,
        steps=lambda recipe: recipe.train.steps,
    ),
)
