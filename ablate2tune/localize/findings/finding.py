"""What a finding is: a follow-up of the ranking that never changes it, in a file of its own.

A file here, or an extension's module, adds one to `FINDINGS`; `explore` runs those that are wanted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from ablate2tune import files
from ablate2tune.components import Component
from ablate2tune.localize.findings.follow_up import FollowUp
from ablate2tune.localize.localize_config import LocalizeConfig
from ablate2tune.localize.margins.encoded_examples import Split
from ablate2tune.localize.measuring.sweep import Sweep
from ablate2tune.localize.ranking.ranking import Analysis
from ablate2tune.localize.ranking.row import Row
from ablate2tune.models import Denoiser, Studied
from ablate2tune.registry import Registry


class Finding(NamedTuple):
    """What one follow-up found."""

    name: str
    """Of its files: NAME.json and NAME.png."""
    data: dict[str, Any]
    """The JSON."""
    draw: Callable[[dict[str, Any], Path], None]
    """Draws the JSON as a PNG."""
    message: str = ""
    """One line for people, if there is one to say."""

    def write(self, folder: Path) -> None:
        """Write NAME.json and NAME.png below `folder`."""
        files.write_json(folder / f"{self.name}.json", self.data)
        self.draw(self.data, folder / f"{self.name}.png")


@dataclass(frozen=True)
class Ranked:
    """A ranking that is there, and what a finding may follow it up with."""

    studied: Studied
    """The model."""
    sweep: Sweep[Any]
    analysis: Analysis
    rows: list[Row]
    """Of all levels; none where there is no skill to localize."""
    blocks: list[Component]
    """Those that can be ablated."""
    split: Split
    """Measured examples and those that were calibrated on."""
    information: dict[str, Any] | None
    """What information.json holds, where the probe contrasts captions."""
    folder: Path
    """Of the stage."""

    @property
    def denoiser(self) -> Denoiser:
        """The model, for findings about pictures."""
        return self.sweep.probe.denoiser

    @property
    def config(self) -> LocalizeConfig:
        """The recipe's section."""
        return self.sweep.config

    @cached_property
    def follow_up(self) -> FollowUp:
        """Measures more conditions, all on the same contrast groups."""
        return FollowUp(self.sweep, self.analysis.groups)

    def best(self, level: str) -> list[str]:
        """Addresses of one level, best first."""
        own = [row for row in self.rows if row.component.level == level]
        return [row.component.address for row in sorted(own, key=lambda row: row.rank_in_level)]


@dataclass(frozen=True)
class Kind:
    """One kind of finding."""

    wanted: Callable[[Ranked], bool]
    """Whether the recipe asks for it; told before anything is measured for it."""
    find: Callable[[Ranked], Finding]
    """Measures what it needs on `Ranked.follow_up`. May raise UserError."""
    takes: str = "joint"
    """What the probe must serve for it (`Probe.takes`)."""
    of_skill: bool = True
    """Whether it follows the ranking of a skill: without one there is no margin to be lost."""


FINDINGS: Registry[Kind] = Registry("finding", __name__.rpartition(".")[0])
