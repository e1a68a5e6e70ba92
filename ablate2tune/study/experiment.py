"""What a cell of a study does: the runs that it takes, and the figures that come of them.

A file in `experiments/` registers one (`EXPERIMENTS.add`); `study.experiment` names it. What a
study is (cells, seeds, processes, resumption, tests, reports) is the same for all.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ablate2tune.progress import Terminal
from ablate2tune.recipe import Recipe
from ablate2tune.registry import Registry
from ablate2tune.stage import Stage
from ablate2tune.study.cells import Cell


class Run(NamedTuple):
    """Stages of one recipe, in a run directory that is named by what it holds."""

    recipe: Recipe
    stages: Sequence[Stage]
    title: str
    """What it is, for people."""
    token: str = ""
    """Hash of what its figures depend on beside what names it: with another they are made anew."""

    @property
    def folder(self) -> Path:
        """Its run directory."""
        return self.recipe.run_folder


class NoCellError(Exception):
    """A cell that cannot be, which is a result: says why."""


class Studied(NamedTuple):
    """What a study knows when its cells are made."""

    recipe: Recipe
    folder: Path
    """Of the study: shared runs lie in `shared/`, cells in `cells/`."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What a cell does, and what is told of it."""

    figure: str
    """Name of the figure that settings are compared by."""
    title: str
    """What it is, for people."""
    higher_is_better: bool = True
    parts: str | None = None
    """Name of a mapping beside it that divides the figure (by relation, for instance)."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Further figures that the table shows, by name, with the heads of their columns."""
    size: str | None = None
    """Name of the figure that says how large a cell's model is, where models differ in size."""
    size_keys: tuple[str, ...] = ()
    """Axes that change the size and little else: the figure is fitted against it over these."""
    takes_arms: bool = False
    """Whether a study of it needs arms, which choose modules."""
    check: Callable[[Recipe], None] = lambda recipe: None
    """Raises UserError for what can be refused before any work."""
    data: Callable[[Recipe], str] = lambda recipe: ""
    """Hash of what it is trained and measured on. Raises UserError where that is missing."""
    shared: Callable[[Studied, Sequence[Cell]], list[Run]] = lambda studied, cells: []
    """Runs that cells share, and that come first."""
    settle: Callable[[Studied, Cell], Run]
    """The run of a cell, once the shared ones are there. Raises NoCellError."""
    figures: Callable[[Path], dict[str, Any]]
    """What a finished run directory says: JSON-able, the figure among them, the same however often
    and wherever it was made."""
    untouched: Callable[[Studied], dict[str, Any]] = lambda studied: {}
    """The same figures where nothing is trained; none by default."""
    costs: Callable[[Path], dict[str, Any]]
    """What a finished run directory cost: `seconds_per_step`, `seconds` in all, `steps`, and
    whatever else depends on the machine."""
    trial: Callable[[Studied, Sequence[Cell]], float]
    """Seconds of a step, measured on a few; for the price that is told first."""
    steps: Callable[[Recipe], int]
    """Steps of a cell."""
    finish: Callable[[Studied, Sequence[tuple[Cell, Run]], Terminal], dict[str, Any]] = (
        lambda studied, finalists, terminal: {}
    )
    """What is done with the finalists, and what the report holds of it."""


EXPERIMENTS: Registry[Experiment] = Registry(
    "experiment", "ablate2tune.study.experiments", "study.experiment"
)
