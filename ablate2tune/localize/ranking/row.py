"""A component's row of the ranking."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ablate2tune.components import Component
from ablate2tune.statistics.clusters import Interval


@dataclass(frozen=True)
class Row:
    """One component's impacts."""

    component: Component
    mode: str
    figure: str
    """What the components are ranked by."""
    impacts: Mapping[str, Interval]
    """What is lost of each figure."""
    relative: dict[str, float | None]
    """Impacts as fractions of the baseline's figures; None where one cannot be told from zero."""
    specificity: float | None
    specificity_interval: Interval | None
    p_uncorrected: float = 1.0
    patched: dict[str, Interval] | None = None
    """In mode patch, where the baseline has a margin: shares of it that are `recovered` in the
    foil's run and `corrupted` in the true caption's."""
    gain: Interval | None = None
    """First-order gain of an adapter per parameter, where it was measured; on groups that did not
    choose its direction, so that it is zero on average where there is nothing to gain."""
    values: Mapping[str, Interval] | None = None
    """The figures without the component, where the probe shows them."""
    p: float = 1.0
    label: str = "neutral"
    """helps, hurts, neutral (unused or redundant), or critical for everything."""
    rank: int = 0
    rank_in_level: int = 0

    @property
    def ranked(self) -> Interval:
        """What is lost of the figure that the components are ranked by."""
        return self.impacts[self.figure]

    @property
    def target(self) -> Interval:
        """What is lost of the target."""
        return self.impacts["target"]

    @property
    def control(self) -> Interval:
        """What is lost of the control."""
        return self.impacts["control"]

    @property
    def quality(self) -> Interval:
        """What is lost of the quality."""
        return self.impacts["quality"]

    def as_dict(self) -> dict[str, Any]:
        """As in `ranking.json`."""
        component = self.component
        return {
            "address": component.address,
            "level": component.level,
            "kind": component.kind,
            "mode": self.mode,
            "rank": self.rank,
            "rank_in_level": self.rank_in_level,
            **self.impacts,
            "relative": self.relative,
            "specificity": self.specificity,
            "specificity_interval": self.specificity_interval,
            "gain": self.gain,
            "p": self.p,
            "p_uncorrected": self.p_uncorrected,
            "label": self.label,
            "parameters": component.parameters,
            "lora_targets": list(component.linears),
            **({"patched": self.patched} if self.patched else {}),
            **({"values": self.values} if self.values else {}),
        }
