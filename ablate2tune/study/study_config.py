"""The section `study`."""

import itertools
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from ablate2tune.compare.compare_config import ArmName
from ablate2tune.errors import did_you_mean
from ablate2tune.settings import Mark, Positive, Settings


class StudyArm(Settings):
    """One rule by which modules are chosen, with what else is changed for it."""

    targets: Literal["top", "bottom", "random", "all", "list"] = "top"
    """Which modules get an adapter (`train.targets`)."""
    rank_by: str | None = None
    """`localize.rank_by` of the ranking behind top and bottom; by default the recipe's."""
    modules: list[str] = []
    """Names or globs: those of targets: list, a preset of the community for instance; or those
    among which targets: random draws."""
    draws: Positive = 1
    """Random sets in each seed, for targets: random."""
    match: Literal["depth", "type"] | None = None
    """Random sets that have as many modules of each block (depth), or of each name within a block
    (type), as the guided arm's at the same budget and seed."""
    equal_parameters: bool = False
    """At each budget, the rank that makes parameters most nearly as many as the guided arm's."""
    overrides: dict[str, Any] = {}
    """Other recipe keys, dotted, that this arm sets (`train.adapter: eva`)."""

    @property
    def has_budget(self) -> bool:
        """Whether the number of modules is a choice: the arm is then run at every budget."""
        return self.equal_parameters or self.targets in ("top", "bottom", "random")

    @model_validator(mode="after")
    def _check_arm(self) -> "StudyArm":
        if self.targets != "random" and (self.draws > 1 or self.match):
            raise ValueError("draws and match are for targets: random")
        if self.targets == "list" and not self.modules:
            raise ValueError("targets: list needs modules")
        if self.modules and (self.targets not in ("list", "random") or self.match):
            raise ValueError("modules are for targets: list, or random without match")
        if self.equal_parameters and self.targets not in ("all", "list"):
            raise ValueError("equal_parameters is for targets: all or list")
        if self.rank_by and self.targets not in ("top", "bottom"):
            raise ValueError("rank_by is for targets: top or bottom")
        return self


def _arm(written: Any) -> Any:
    """`NAME:` without anything below it is an arm of the recipe's own rule."""
    if not isinstance(written, dict):
        return written
    return {name: {} if arm is None else arm for name, arm in written.items()}


class StudyConfig(Settings):
    """What is varied, and how often each setting is repeated."""

    experiment: str = "tuning"
    """What a cell does: the name of a registered experiment."""
    arms: Annotated[dict[ArmName, StudyArm], BeforeValidator(_arm)] = {
        "guided": StudyArm(),
        "random": StudyArm(targets="random", draws=5),
        "bottom": StudyArm(targets="bottom"),
        "all-equal": StudyArm(targets="all", equal_parameters=True),
        "all": StudyArm(targets="all"),
    }
    """Rules that choose modules, by name, each run at every budget and seed."""
    guided: str = ""
    """The arm that is put to the test and from which axes depart; the first by default."""
    chance: str = ""
    """The arm that it is tested against; the first with random targets by default."""
    budgets: list[Positive] = []
    """Numbers of modules (`train.count`); the recipe's own by default."""
    axes: dict[str, list[Any]] = {}
    """Recipe keys, dotted, with their values: each is changed alone, from the guided arm at the
    recipe's own budget."""
    cross: list[str] | list[list[str]] = []
    """Axes that are also changed together, in all combinations; or several such lists, such as
    pairs, each combined by itself."""
    grid: str = ""
    """An axis at whose values every other setting is run as well, such as a learning rate: each is
    told at its best one beside the recipe's own."""
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = [1, 2, 3]
    """Every setting is run with each; they are the blocks of the paired tests."""
    measured: Annotated[Path | None, Mark.CONTENT] = None
    """Of the experiment text-tuning: what the arms are compared on, text or prompts with answers as
    `train.text`; of a `.jsonl` that says so, the lines of the split test."""
    beside: Annotated[Path | None, Mark.CONTENT] = None
    """Another text, whose loss tells what tuning spoils."""
    rankings: Literal["each", "one"] = "each"
    """Whether each seed has rankings of its own, so that the rule is what is tested, or all share
    one, so that it is this choice of modules."""
    finalists: Annotated[int, Field(ge=0)] = 0
    """The best settings, so many, draw pictures that are judged (`compare`)."""
    confidence: Annotated[float, Field(gt=0.5, lt=1), Mark.PRESENTS] = 0.95
    """Mass of the intervals."""

    @property
    def crossed(self) -> list[list[str]]:
        """The lists of axes that are changed together."""
        together = [key for key in self.cross if isinstance(key, str)]
        return [together] if together else [list(keys) for keys in self.cross]

    @property
    def guided_arm(self) -> str | None:
        """The arm that is put to the test; None where there are no arms."""
        return self.guided or next(iter(self.arms), None)

    @property
    def chance_arm(self) -> str | None:
        """The arm that it is tested against, if there is one."""
        drawn = (name for name, arm in self.arms.items() if arm.targets == "random")
        return self.chance or next(drawn, None)

    @model_validator(mode="after")
    def _check_names(self) -> "StudyConfig":
        for key, name in (("guided", self.guided), ("chance", self.chance)):
            if name and name not in self.arms:
                raise ValueError(f"{key} = {name!r} is no arm; {did_you_mean(name, self.arms)}")
        for key in itertools.chain(*self.crossed):
            if key not in self.axes:
                raise ValueError(f"cross: {key!r} is no axis; {did_you_mean(key, self.axes)}")
        if self.grid and self.grid not in self.axes:
            raise ValueError(
                f"grid: {self.grid!r} is no axis; {did_you_mean(self.grid, self.axes)}"
            )
        if self.grid in itertools.chain(*self.crossed):
            raise ValueError(f"cross: {self.grid!r} is the grid, which all is crossed with")
        for key, values in self.axes.items():
            if not values:
                raise ValueError(f"axes: {key} has no values")
        for what in ("seeds", "budgets"):
            values = getattr(self, what)
            if len(set(values)) < len(values):
                raise ValueError(f"{what}: a number comes twice")
        return self
