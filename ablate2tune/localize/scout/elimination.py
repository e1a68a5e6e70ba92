"""Which modules stay from round to round, and the order that this gives all of them.

Adapters that learn side by side share the work: of two that do the same job, either can be switched
off at little loss. So the lower half leaves, the others learn on and take its work over, and they
are measured again (successive halving, Jamieson & Talwalkar 2016, arXiv:1502.07943). What stands at
the end is a set whose members are missed beside each other, and any number of first places is one.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ablate2tune.statistics.clusters import Interval

FEWEST = 4
"""A round that would keep fewer modules is not held: as few as anyone trains."""


class Round(NamedTuple):
    """What a round measured of the modules that were in it."""

    adds: Mapping[str, Interval]
    """What is lost when a module's adapter is switched off, by address."""
    kept: int
    """How many stay."""

    @property
    def order(self) -> list[str]:
        """Its modules, those that are missed most first."""
        return sorted(self.adds, key=lambda address: (-self.adds[address]["value"], address))

    @property
    def survivors(self) -> list[str]:
        """Those that stay."""
        return self.order[: self.kept]

    def settled(self, address: str) -> bool:
        """Whether a module's interval lies on one side of the cut between who stays and who goes.

        Where all stay: whether it lies above zero.
        """
        own, order = self.adds[address], self.order
        cut = 0.0
        if self.kept < len(order):
            nearest = order[self.kept - 1 : self.kept + 1]
            cut = sum(self.adds[one]["value"] for one in nearest) / 2
        return not own["low"] <= cut <= own["high"]


def halvings(modules: int) -> list[int]:
    """How many modules each round keeps.

    >>> halvings(56)
    [28, 14, 7]
    """
    kept: list[int] = []
    while modules >= 2 * FEWEST:
        modules //= 2
        kept.append(modules)
    return kept or [modules]


def places(rounds: Sequence[Round]) -> list[dict[str, Any]]:
    """All modules in the order in which they stood, as `set` in ranking.json.

    Those of the last round come first, those that left in the round before it next, and so on;
    within a round, those that are missed most. Each has what it adds to the modules that were in
    its last round, and whether its place there is settled.
    """
    found: dict[str, dict[str, Any]] = {}
    for number, one in reversed(list(enumerate(rounds, start=1))):
        for address in one.order:
            found.setdefault(
                address,
                {
                    "address": address,
                    "adds": one.adds[address],
                    "settled": one.settled(address),
                    "round": number,
                },
            )
    return list(found.values())
