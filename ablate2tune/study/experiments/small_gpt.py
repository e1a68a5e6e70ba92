"""The experiment small-gpt: a small GPT trained from nothing, its architecture as axes."""

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

from ablate2tune import files
from ablate2tune.errors import DivergedError, UserError
from ablate2tune.recipe import Recipe, overridden
from ablate2tune.small_gpt.gpt_stage import STAGE, key_of, text_hash, text_of
from ablate2tune.small_gpt.gpt_training import LOG, RESULT, train_gpt
from ablate2tune.small_gpt.matching import matched
from ablate2tune.study.cells import Cell, recipe_of
from ablate2tune.study.experiment import EXPERIMENTS, Experiment, Run, Studied

TRIAL = 6
"""Steps that are run to measure one; the first is left out, since it allocates."""


def settle(studied: Studied, cell: Cell) -> Run:
    """The run of a cell, named by what it holds; its width where it is matched."""
    recipe = recipe_of(studied.recipe, cell)
    fitted = matched(recipe.gpt, studied.recipe.gpt)
    changed = {key: getattr(fitted, key) for key in ("width", "match")}
    recipe = recipe.model_copy(update={"gpt": recipe.gpt.model_copy(update=changed)})
    own = {"runs": str(studied.folder / "cells"), "study": {}, "name": "cell"}
    recipe = overridden(recipe, own, "study")
    recipe = overridden(recipe, {"name": key_of(recipe)}, "study")
    return Run(recipe, [STAGE], f"{cell.setting}, seed {cell.seed}")


def figures(folder: Path) -> dict[str, Any]:
    """What a cell's folder says."""
    return files.read_json(folder / STAGE.name / RESULT)


def costs(folder: Path) -> dict[str, Any]:
    """Seconds of a step (median), and of the whole training."""
    rows = files.read_jsonl(folder / STAGE.name / LOG)
    manifest = files.read_json(folder / "manifest.json")
    stage = manifest["stages"][STAGE.name]
    return {
        "seconds_per_step": median(row["seconds"] for row in rows),
        "steps": len(rows),
        "seconds": stage.get("seconds") or sum(row["seconds"] for row in rows),
        "peak_memory_gb": stage.get("peak_memory_gb"),
    }


def trial(studied: Studied, cells: Sequence[Cell]) -> float:
    """Seconds of a step of the baseline."""
    recipe = studied.recipe
    few = recipe.gpt.model_copy(update={"steps": TRIAL, "warmup": 0, "validate_every": TRIAL})
    with tempfile.TemporaryDirectory() as folder:
        with suppress(DivergedError):  # so few steps reach no loss worth the name
            train_gpt(few, text_of(recipe), 0, Path(folder))
        rows = files.read_jsonl(Path(folder) / LOG)
    return min(row["seconds"] for row in rows[1:])


def check(recipe: Recipe) -> None:
    """Refuse arms, keys that say nothing of a small GPT, and a text that is not there."""
    if recipe.study.arms:
        raise UserError(
            "arms choose modules to tune, and nothing is tuned here",
            where="study.arms",
            mend="write arms: {}",
        )
    for key in recipe.study.axes:
        if not key.startswith("gpt."):
            raise UserError(
                "says nothing of a small GPT", where=f"study.axes.{key}", mend="vary keys of gpt"
            )
    text_of(recipe)


EXPERIMENTS.add(
    "small-gpt",
    Experiment(
        figure="validation_loss",
        title="validation loss, nats per byte",
        higher_is_better=False,
        size="parameters_outside_embeddings",
        size_keys=("gpt.layers", "gpt.width"),
        columns={"best_loss": "best", "kflops_per_byte": "kFLOPs"},
        check=check,
        data=lambda recipe: files.content_hash(text_hash(recipe), recipe.gpt.decisive()),
        settle=settle,
        figures=figures,
        costs=costs,
        trial=trial,
        steps=lambda recipe: recipe.gpt.steps,
    ),
)
