"""A condition: what is ablated while the examples are measured."""

from dataclasses import dataclass

from ablate2tune.ablation import MODES, Ablation
from ablate2tune.ablation.mode import Need

NONE = "none"
"""Stands for a mode in the baseline."""


@dataclass(frozen=True)
class Condition:
    """One or several components and what becomes of them."""

    addresses: tuple[str, ...] = ()
    """Empty for the baseline."""
    mode: str = NONE

    @property
    def patches(self) -> bool:
        """Whether components get activations of another caption instead of being ablated."""
        return self.mode != NONE and MODES[self.mode].restores

    def needs(self, *any_of: Need) -> bool:
        """Whether the mode declares one of these needs; the baseline has none."""
        return self.mode != NONE and not MODES[self.mode].needs.isdisjoint(any_of)

    @property
    def ablations(self) -> list[Ablation]:
        """What to ablate; nothing for the baseline."""
        return [Ablation(address, self.mode) for address in self.addresses]

    def __str__(self) -> str:
        return f"{self.mode} {', '.join(self.addresses)}" if self.addresses else "baseline"


BASELINE = Condition()
"""Nothing ablated."""
