"""The cells of a study: which setting, which seed, which draw; and the recipe of each."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ablate2tune.errors import UserError
from ablate2tune.recipe import Recipe, overridden

AXES, ARMS = "study.axes", "study.arms"
FIXED = {
    "name": "cells are named by what they hold",
    "runs": "cells lie below the study's folder",
    "data": "use scenes.folder",
    "compare": "it decides no training",
    "study": "a study is not part of itself",
    "seed": "use study.seeds",
    "train.targets": "use study.arms",
    "train.modules": "use study.arms",
    "train.draw": "use study.arms",
    "train.count": "use study.budgets",
}
"""Keys that no axis or arm may set, and what serves instead."""


@dataclass(frozen=True)
class Cell:
    """One run of a study."""

    arm: str | None
    """None in a study without arms."""
    seed: int
    budget: int | None = None
    """Modules; None where the arm leaves no choice of it."""
    draw: int = 0
    axis: Mapping[str, Any] = field(default_factory=dict)
    """Keys that differ from the baseline."""

    @property
    def setting(self) -> str:
        """Everything but seed and draw, for people: "impact, 8 modules, train.rank=4"."""
        parts = [self.arm] if self.arm else []
        parts += [f"{self.budget} modules"] if self.budget else []
        parts += [f"{key}={json.dumps(value)}" for key, value in self.axis.items()]
        return ", ".join(parts) or "baseline"


def plan(recipe: Recipe) -> list[Cell]:
    """All cells, seed after seed, so that an interrupted study has whole blocks.

    Raises:
        UserError: an axis or an arm sets a key that is unknown or not its own, or a value that is
            impossible.
    """
    config = recipe.study
    budgets: list[int] = list(config.budgets) or [recipe.train.count]
    for name, arm in config.arms.items():
        _check_keys(arm.overrides, f"{ARMS}.{name}.overrides")
    settings: list[tuple[str | None, int | None, Mapping[str, Any]]] = []
    for name, arm in config.arms.items():
        settings += [(name, budget, {}) for budget in (budgets if arm.has_budget else [None])]
    if config.axes:
        guided = config.guided_arm
        chosen = config.arms[guided].has_budget if guided else False
        baseline = (guided, recipe.train.count if chosen else None, {})
        settings += [baseline] if baseline not in settings else []
        settings += [(*baseline[:2], change) for change in _changes(recipe)]
    cells = []
    for seed, (arm, budget, axis) in itertools.product(config.seeds, settings):
        draws = config.arms[arm].draws if arm else 1
        cells += [Cell(arm, seed, budget, draw, axis) for draw in range(draws)]
    for cell in cells:
        recipe_of(recipe, cell)
    return cells


def recipe_of(recipe: Recipe, cell: Cell) -> Recipe:
    """The study's recipe with the cell's seed, budget, overrides and axis.

    Raises:
        UserError: a key is unknown or a value impossible.
    """
    arm = recipe.study.arms[cell.arm] if cell.arm else None
    if arm:
        where = f"{ARMS}.{cell.arm}"
        recipe = overridden(recipe, arm.overrides, f"{where}.overrides")
        if arm.rank_by:
            ranked: dict[str, Any] = {"localize.rank_by": arm.rank_by}
            if arm.rank_by != "scout":
                ranked["localize.scout_steps"] = None
            recipe = overridden(recipe, ranked, where)
    recipe = overridden(recipe, cell.axis, AXES)
    own = {"seed": cell.seed, **({"train.count": cell.budget} if cell.budget else {})}
    return overridden(recipe, own, "study")


def shares(number: int, index: int, count: int) -> Iterator[int]:
    """The order in which process `index` of `count` takes tasks: its own, then what is left.

    >>> list(shares(5, index=1, count=2))
    [1, 3, 0, 2, 4]
    """
    yield from (i for i in range(number) if i % count == index)
    yield from (i for i in range(number) if i % count != index)


def _changes(recipe: Recipe) -> list[Mapping[str, Any]]:
    """What the axes change: one key at a time, crossed ones together, then all over the grid."""
    axes: dict[str, list[Any]] = {}
    for key, values in recipe.study.axes.items():
        _check_keys([key], AXES)
        axes[key] = [v for v in values if overridden(recipe, {key: v}, AXES) != recipe]
    changes: list[Mapping[str, Any]] = [
        {key: value} for key, values in axes.items() for value in values
    ]
    for keys in recipe.study.crossed:
        crossed = [[None, *((key, value) for value in axes[key])] for key in keys]
        for combination in itertools.product(*crossed):
            change = dict(part for part in combination if part)
            if len(change) > 1 and change not in changes:
                changes.append(change)
    grid = recipe.study.grid
    others = [change for change in changes if grid and grid not in change]
    return changes + [{**change, grid: value} for change in others for value in axes[grid]]


def _check_keys(keys: Sequence[str] | Mapping[str, Any], where: str) -> None:
    for key in keys:
        instead = FIXED.get(key) or FIXED.get(key.split(".")[0])
        if instead is None and key.startswith("scenes.") and key != "scenes.folder":
            instead = "render the sets first and use scenes.folder"
        if instead:
            raise UserError(f"{key} cannot be varied", where=where, mend=instead)
