"""What a sweep may spend: a share of the exhaustive one, or a time, in the probe's unit."""

from collections.abc import Callable
from dataclasses import dataclass

from ablate2tune.localize.localize_config import LocalizeConfig
from ablate2tune.localize.measuring.racing import BUDGET


@dataclass
class Purse:
    """What is left for the components that are still to come, of whatever level."""

    left: float
    """In the probe's unit."""
    coming: int
    """Components that it is for."""

    def part(self, components: int) -> float:
        """The part of so many of those that are to come; what others saved is shared out."""
        return max(0.0, self.left * components / max(1, self.coming))

    def pay(self, spent: float, components: int) -> None:
        """Take out what components took."""
        self.left -= spent
        self.coming -= components


def purse(
    config: LocalizeConfig,
    coming: int,
    baseline: float,
    gradients: bool,
    pace: Callable[[], float],
) -> tuple[Purse, list[str]]:
    """What may be spent on components, and what to tell the user of it.

    Args:
        config: the budget as a share, as minutes, or both: then the smaller.
        coming: how many components.
        baseline: what the baseline took, in the probe's unit.
        gradients: whether gradients of all pictures were taken as well: twice that.
        pace: what is measured in a second; asked for only where there are minutes.
    """
    share = config.budget or (1.0 if config.minutes else BUDGET)
    most, notes = share * (1 + coming) * baseline, list[str]()
    if config.minutes:
        per_second = pace()
        timed = 60 * config.minutes * per_second
        notes.append(
            f"{config.minutes:g} minutes pay for {timed:,.0f} at {per_second:,.0f} a second, the "
            "baseline's pace (pace.json)"
        )
        most = min(most, timed)
    return Purse(max(0.0, most - (3 if gradients else 1) * baseline), max(1, coming)), notes
