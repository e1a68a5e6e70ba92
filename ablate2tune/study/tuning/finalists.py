"""The best settings draw pictures, which are judged: one comparison for each seed."""

import re
from collections.abc import Sequence
from statistics import mean
from typing import Any

from ablate2tune.compare.scores import FILE, read_scores
from ablate2tune.compare.stage import STAGE as COMPARE
from ablate2tune.progress import Terminal
from ablate2tune.recipe import Recipe, overridden
from ablate2tune.stage_running import run_stage
from ablate2tune.study.cells import Cell
from ablate2tune.study.experiment import Run, Studied

FOLDER, REFERENCE = "finals", "untouched"


def compare_finalists(
    studied: Studied, finalists: Sequence[tuple[Cell, Run]], terminal: Terminal
) -> dict[str, Any]:
    """The figures of `compare` for each finalist, by setting, as means over the seeds.

    Nothing is told of finalists that start from another model or other scenes than the recipe's.
    """
    seeds: dict[int, dict[str, Any]] = {}
    for cell, run in finalists:
        same = run.recipe.model == studied.recipe.model
        if same and run.recipe.data_folder == studied.recipe.data_folder:
            seeds.setdefault(cell.seed, {})[cell.setting] = run.folder / "train" / "adapter"
    found: dict[str, list[dict[str, float | None]]] = {}
    for seed, adapters in seeds.items():
        recipe = _recipe(studied, seed, adapters)
        run_stage(COMPARE, recipe, terminal)
        path = recipe.run_folder / COMPARE.name / FILE
        if not path.exists():
            return {}
        arms = read_scores(path).arms
        for setting in (REFERENCE, *adapters):
            overall = arms[_name(setting)].overall
            found.setdefault(setting, []).append({k: rate.value for k, rate in overall.items()})
    return {setting: _means(rows) for setting, rows in found.items()}


def _recipe(studied: Studied, seed: int, adapters: dict[str, Any]) -> Recipe:
    arms: dict[str, Any] = {REFERENCE: {}}
    arms |= {_name(setting): {"adapter": str(path)} for setting, path in adapters.items()}
    own = {
        "name": f"seed{seed}",
        "runs": str(studied.folder / FOLDER),
        "seed": seed,
        "scenes.folder": str(studied.recipe.data_folder),
        "compare.arms": arms,
        "compare.reference": REFERENCE,
        "study": {},
    }
    return overridden(studied.recipe, own, "study")


def _name(setting: str) -> str:
    """A setting as the name of an arm."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", setting).strip("-.")


def _means(rows: Sequence[dict[str, float | None]]) -> dict[str, float]:
    means = {}
    for key in dict.fromkeys(key for row in rows for key in row):
        values = [row[key] for row in rows if row.get(key) is not None]
        if values:
            means[key] = mean(value for value in values if value is not None)
    return means
