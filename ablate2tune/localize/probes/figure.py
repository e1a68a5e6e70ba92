"""What a figure of a probe is: its name, what it stands for, and how it is read."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from ablate2tune.statistics.clusters import Interval

Role = Literal["target", "control", "quality"]


@dataclass(frozen=True)
class Figure:
    """A number that a probe gives of each example, or of all of them together."""

    name: str
    """In rows and in the ranking."""
    title: str
    """What it is, for people."""
    head: str = ""
    """Of its column in the terminal's table; a figure without one is not shown there."""
    shown: str = "{:.3f}"
    """How its own values are written."""
    rate: bool = False
    """Whether it is 0 or 1 of each example, so that its mean is a rate."""
    role: Role | None = None
    """The capability that is localized, one beside it, or how well the model does at all."""
    ranks: bool = False
    """Whether components can be ranked by it: by the first such figure whose baseline lies above
    zero, or that is of a set."""
    higher_is_better: bool = True
    of_set: bool = False
    """Whether it is one number of all examples together, as a distance between sets is."""
    everywhere: bool = True
    """Whether every example has it; if not, those count that have it in the baseline."""
    partial: bool = False
    """Whether an ablation can take it from an example, or give it: then means are compared."""
    tested_by: str = ""
    """Of a set: the figure whose p-value stands for it."""
    critical: Callable[[float, Interval], bool] | None = None
    """From the baseline's value and what is lost: whether too much else is lost to say more."""
    collapse: str = ""
    """What is then the case, for people: "the loss at least doubles"."""

    def as_dict(self) -> dict[str, Any]:
        """As in `ranking.json`: what is needed to show it."""
        names = ("name", "title", "head", "role", "higher_is_better", "of_set")
        shown = "{:.0%}" if self.rate else self.shown
        return {name: getattr(self, name) for name in names} | {"shown": shown}


def of_role(figures: Iterable[Figure], role: Role) -> Figure | None:
    """The figure of a role, if there is one."""
    return next((figure for figure in figures if figure.role == role), None)
