"""A condition: what is ablated while the examples are measured."""

from dataclasses import dataclass
from typing import Literal

from ablate2tune.ablation import Ablation, Mode

PATCHING = ("patch", "trace")
"""Modes that put in what the same picture gives under its other caption."""


@dataclass(frozen=True)
class Condition:
    """One or several components and what becomes of them."""

    addresses: tuple[str, ...] = ()
    """Empty for the baseline."""
    mode: Mode | Literal["none"] = "none"

    @property
    def patches(self) -> bool:
        """Whether components get activations of another caption instead of being ablated."""
        return self.mode in PATCHING

    @property
    def ablations(self) -> list[Ablation]:
        """What to ablate; nothing for the baseline."""
        if self.mode == "none":
            return []
        return [Ablation(address, self.mode) for address in self.addresses]

    def __str__(self) -> str:
        return f"{self.mode} {', '.join(self.addresses)}" if self.addresses else "baseline"


BASELINE = Condition()
"""Nothing ablated."""


def block_mode(mode: Mode) -> Mode:
    """What becomes of whole blocks where sub-layers are treated by `mode` (`localize.mode`)."""
    return "patch" if mode == "patch" else "skip"
