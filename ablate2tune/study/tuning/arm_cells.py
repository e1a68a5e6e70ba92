"""Cells that tune: an adapter on the modules that an arm chooses, whatever kind of model it is."""

import functools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from torch import nn

from ablate2tune import files
from ablate2tune.components import discover
from ablate2tune.errors import UserError
from ablate2tune.localize.stage import STAGE as LOCALIZE
from ablate2tune.models import Studied as Model
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.recipe import Recipe, overridden
from ablate2tune.stage import Stage
from ablate2tune.study.cells import Cell, recipe_of
from ablate2tune.study.experiment import Experiment, NoCellError, Run, Studied
from ablate2tune.study.tuning.choosing import Candidates, Choice, choose
from ablate2tune.train.lessons.lessons import Lessons
from ablate2tune.train.stage import STAGE as TRAIN
from ablate2tune.train.targets import choose_targets
from ablate2tune.train.train_config import TrainConfig
from ablate2tune.train.training_loop import teach

FIGURES = "figures"
"""The stage that measures, of every kind."""
FILE = "figures.json"
CHOOSING = "count", "neighbours", "draw", "if_no_skill", "preset"
"""Keys of `train` that say nothing where modules are listed, as a cell lists them."""


@dataclass(frozen=True)
class Kind:
    """What differs between the kinds of models that are tuned."""

    load: Callable[[ModelConfig], Model]
    data: Callable[[Recipe], str]
    """Hash of what is trained and measured on."""
    measured_on: Callable[[Recipe], dict[str, Any]]
    """What decides the figures beside the adapter and what names the cell, JSON-able."""
    figures_stage: Callable[[Recipe, Path | None], Stage]
    """The stage `figures`, of the study's recipe; with the folder of the untouched model's figures,
    or None to measure that. It writes `figures.json`."""
    few_lessons: Callable[[Recipe, int], Lessons]
    """The model with few of its examples, to time a step."""
    own: Callable[[Studied], dict[str, Any]] = lambda studied: {}
    """Further keys of the recipe that cells share."""


def tuning_experiment(kind: Kind, **told: Any) -> Experiment:
    """The experiment on a kind of models; `told` is what `Experiment` tells of its figures."""
    return Experiment(
        takes_arms=True,
        data=kind.data,
        shared=functools.partial(shared, kind),
        settle=functools.partial(settle, kind),
        figures=figures,
        untouched=functools.partial(untouched, kind),
        costs=costs,
        trial=functools.partial(trial, kind),
        steps=lambda recipe: recipe.train.steps,
        **told,
    )


SHARED, CELLS = "shared", "cells"
RANKED = ("top", "bottom")
TRIAL = 3
"""Steps that are run to measure one; the first is left out, since it allocates."""


def shared(kind: Kind, studied: Studied, cells: Sequence[Cell]) -> list[Run]:
    """The untouched model's figures, and every ranking that an arm goes by."""
    for arm in studied.recipe.study.arms.values():
        if arm.modules:  # a glob that matches nothing is told before any work
            _candidates(kind, studied.recipe.model).listed(arm.modules)
    wanted = [_base(kind, studied, cell) for cell in cells]
    for cell in cells:
        ranking = _ranking(studied, cell)
        wanted += [ranking] if ranking else []
    return list({run.folder: run for run in wanted}.values())


def settle(kind: Kind, studied: Studied, cell: Cell) -> Run:
    """The run of a cell: its modules by name, so that equal choices share it.

    Raises:
        NoCellError: the arm can choose nothing: there is no skill to rank by, or too few modules.
    """
    recipe = recipe_of(studied.recipe, cell)
    try:
        choice = _choice(kind, studied, cell)
    except UserError as error:
        raise NoCellError(str(error)) from error
    own = {
        "train.targets": "list",
        "train.modules": choice.modules,
        "train.rank": choice.rank,
        **{f"train.{key}": getattr(TrainConfig(), key) for key in CHOOSING},
        "train.sample_prompts": 1,
        "train.sample_every": recipe.train.steps,
        **kind.own(studied),
    }
    recipe = _placed(studied, overridden(recipe, own, "study"), CELLS, "cell")
    recipe = overridden(recipe, {"name": _hash(TRAIN, recipe)}, "study")
    base = _base(kind, studied, cell).folder / FIGURES
    stages = TRAIN, kind.figures_stage(studied.recipe, base)
    token = files.content_hash(kind.measured_on(studied.recipe))
    return Run(recipe, stages, f"{cell.setting}, seed {cell.seed}", token)


def figures(folder: Path) -> dict[str, Any]:
    """What a cell's folder says."""
    found = files.read_json(folder / FIGURES / FILE)
    targets = files.read_json(folder / "train" / "targets.json")
    del found["schema"]
    return {**found, "modules": targets["injected"], "ranks": targets["ranks"]}


def untouched(kind: Kind, studied: Studied) -> dict[str, Any]:
    """The base model's own figures."""
    config = studied.recipe.study
    base = _base(kind, studied, Cell(config.guided_arm, config.seeds[0]))
    found = files.read_json(base.folder / FIGURES / FILE)
    del found["schema"]
    return found


def costs(folder: Path) -> dict[str, Any]:
    """Seconds of a step (median), and of the whole training."""
    rows = files.read_jsonl(folder / "train" / "log.jsonl")
    steps = [row["seconds"] for row in rows if row["step"]]
    manifest = files.read_json(folder / "manifest.json")
    stages = manifest["stages"]
    spent = {name: record.get("seconds") for name, record in stages.items()}
    return {
        "seconds_per_step": median(steps) if steps else None,
        "steps": manifest["recipe"]["train"]["steps"],
        "seconds": sum(seconds or 0.0 for seconds in spent.values()),
        "stages": spent,
    }


def trial(kind: Kind, studied: Studied, cells: Sequence[Cell]) -> float:
    """Seconds of a step with as many random modules as the middle cell has, on a few examples."""
    recipe = studied.recipe
    budgets = sorted(cell.budget for cell in cells if cell.budget) or [recipe.train.count]
    changes = {
        "targets": "random", "count": budgets[len(budgets) // 2], "steps": TRIAL, "warmup": 0,
        "validation_images": 2, "validate_every": TRIAL, "sample_every": TRIAL,
        "sample_prompts": 1, "checkpoint_every": TRIAL, "cache": None,
    }  # fmt: skip
    config = recipe.train.model_copy(update=changes)
    lessons = kind.few_lessons(recipe, 2 * config.batch_size + 2)
    targets = choose_targets(None, config, discover(lessons.studied.model), 0)
    with tempfile.TemporaryDirectory() as folder:
        teach(lessons, targets, config, 0, Path(folder))
        rows = files.read_jsonl(Path(folder) / "log.jsonl")
    return min(row["seconds"] for row in rows if row["step"] > 1)


def _choice(kind: Kind, studied: Studied, cell: Cell) -> Choice:
    assert cell.arm is not None, "a study of tuning has arms"
    config, recipe = studied.recipe.study, recipe_of(studied.recipe, cell)
    arm, like, ranking = config.arms[cell.arm], None, _ranking(studied, cell)
    if arm.match or arm.equal_parameters:
        like = _choice(kind, studied, replace(cell, arm=config.guided_arm, draw=0))
    return choose(
        arm,
        recipe.train,
        cell.draw,
        _candidates(kind, recipe.model),
        cell.seed,
        files.read_json(ranking.folder / "localize" / "ranking.json") if ranking else None,
        like,
    )


def _ranking(studied: Studied, cell: Cell) -> Run | None:
    """The ranking that a cell's arm goes by, if it goes by one; all budgets share it."""
    config = studied.recipe.study
    if cell.arm is None or config.arms[cell.arm].targets not in RANKED:
        return None
    recipe = recipe_of(studied.recipe, cell)
    seed = cell.seed if config.rankings == "each" else studied.recipe.seed
    most = max([studied.recipe.train.count, *config.budgets])  # as many places are settled
    recipe = overridden(recipe, {"seed": seed, "train.count": most}, "study")
    name = f"ranking-{_hash(LOCALIZE, recipe)}"
    title = f"ranking by {recipe.localize.rank_by}, seed {seed}"
    return Run(_placed(studied, recipe, SHARED, name), [LOCALIZE], title)


def _base(kind: Kind, studied: Studied, cell: Cell) -> Run:
    """The figures of the model that a cell starts from."""
    recipe = recipe_of(studied.recipe, cell)
    held = recipe.model.decisive(), kind.data(recipe), kind.measured_on(studied.recipe)
    name = f"base-{files.content_hash(*held)}"
    stages = [kind.figures_stage(studied.recipe, None)]
    return Run(_placed(studied, recipe, SHARED, name), stages, "the model as it is")


def _placed(studied: Studied, recipe: Recipe, folder: str, name: str) -> Recipe:
    """The recipe in a run directory of the study, on the same data."""
    own = {
        "name": name,
        "runs": str(studied.folder / folder),
        "scenes.folder": str(recipe.data_folder),
        "study": {},
    }
    return overridden(recipe, own, "study")


_hashes: dict[tuple[str, str], str] = {}


def _hash(stage: Stage, recipe: Recipe) -> str:
    """Of all that a stage's results depend on; the data are read once, not for each cell."""
    known = stage.name, recipe.model_dump_json()
    if known not in _hashes:
        _hashes[known] = files.content_hash(stage.inputs(recipe))
    return _hashes[known]


def _candidates(kind: Kind, model: ModelConfig) -> Candidates:
    return _candidates_of(kind, model.model_copy(update={"device": "cpu"}).model_dump_json())


@functools.cache
def _candidates_of(kind: Kind, model: str) -> Candidates:
    found = kind.load(ModelConfig.model_validate_json(model)).model
    linears = {n: m for n, m in found.named_modules() if isinstance(m, nn.Linear)}
    sizes = {name: (m.in_features, m.out_features) for name, m in linears.items()}
    return Candidates(discover(found), sizes)
