"""Follow-up conditions: joint ablations and token positions, all on the same contrast groups.

They come after the ranking and never change it; their rows are in `follow-up.jsonl`.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ablate2tune.ablation import MODES
from ablate2tune.components.selections import parse
from ablate2tune.localize.margins.caption_losses import Margins
from ablate2tune.localize.measuring.condition import BASELINE, Condition
from ablate2tune.localize.measuring.sweep import Sweep
from ablate2tune.localize.probes.figure import Figure
from ablate2tune.localize.probes.probe import Probe
from ablate2tune.statistics.clusters import Clusters, Interval

GROUPS = 48
"""Contrast groups, at most, that joint conditions and token positions are measured on, all on the
same ones: half of the default sweep, so that a set can be chosen on one half and judged on the
other."""


class FollowUp:
    """Measures conditions on a share of the contrast groups and compares them in pairs."""

    def __init__(self, sweep: Sweep[Probe[Any]], groups: Clusters):
        """Choose the groups; nothing is measured yet.

        Args:
            sweep: its baseline has been measured.
            groups: resampling of all the sweep's examples.
        """
        self._sweep, self._groups = sweep, groups
        self.groups = sweep.order()[:GROUPS]
        """The chosen contrast groups; every prefix spreads over the baseline's margins."""
        self._place = {part.address: i for i, part in enumerate(sweep.catalogue)}

    @property
    def sweep(self) -> Sweep[Probe[Any]]:
        """The sweep that is followed up."""
        return self._sweep

    @property
    def baseline(self) -> Condition:
        """Nothing ablated."""
        return BASELINE

    @property
    def confidence(self) -> float:
        """Mass of the intervals."""
        return self._sweep.config.confidence

    def joint(self, addresses: Iterable[str], level: str) -> Condition:
        """The condition that ablates components of one level together; the baseline for none."""

        def place(address: str) -> tuple[int, tuple[int, ...]]:
            part = parse(address)
            return self._place[part.path], part.indices

        chosen = sorted(set(addresses), key=place)
        mode = self._sweep.config.mode
        mode = MODES[mode].block_mode if level == "block" else mode
        return Condition(tuple(chosen), mode) if chosen else BASELINE

    def measure(self, conditions: Iterable[Condition], groups: Sequence[str] | None = None) -> None:
        """Measure conditions on the chosen groups, or on some of them."""
        wanted = self.groups if groups is None else groups
        self._sweep.follow_up(list(dict.fromkeys(conditions)), wanted)

    def margins(self, condition: Condition) -> Margins:
        """Figures of a measured condition, mean over noise levels: (n,); nan elsewhere."""
        found = self._sweep.followed_up[condition]
        by_role = {role: np.full(len(self._sweep), np.nan) for role in Margins._fields}
        for role, figure in self._by_role.items():
            sign = 1 if figure.higher_is_better else -1
            by_role[role] = sign * found[figure.name].mean(1)
        return Margins(**by_role)

    @property
    def _by_role(self) -> dict[str, Figure]:
        """The figures that have a role, by it."""
        return {figure.role: figure for figure in self._sweep.probe.figures if figure.role}

    def impacts(self, condition: Condition) -> Margins:
        """Baseline minus ablated, (n,) each; nan where not measured."""
        base, ablated = self.margins(BASELINE), self.margins(condition)
        return Margins(*(a - b for a, b in zip(base, ablated, strict=True)))

    def mask(self, groups: Sequence[str] | None = None) -> np.ndarray:
        """Which examples belong to the groups, by default the chosen ones: bool, (n,)."""
        mask = np.zeros(len(self._sweep), bool)
        mask[self._sweep.of_groups(self.groups if groups is None else groups)] = True
        return mask

    def mean(self, values: np.ndarray, groups: Sequence[str] | None = None) -> Interval | None:
        """Mean over the groups' examples with its interval; None if any value is not finite."""
        mask = self.mask(groups)
        if not np.isfinite(values[mask]).all():
            return None
        return self._groups.interval(self._groups.estimated_mean(values, mask))

    def means(self, margins: Margins) -> dict[str, Interval | None]:
        """The means of the figures that were measured, with intervals, by name."""
        return {role: self.mean(getattr(margins, role)) for role in self._by_role}

    def share(
        self, values: np.ndarray, whole: np.ndarray, groups: Sequence[str] | None = None
    ) -> Interval | None:
        """The ratio of two means, resampled together; None if any value is not finite."""
        mask = self.mask(groups)
        if not (np.isfinite(values[mask]).all() and np.isfinite(whole[mask]).all()):
            return None
        return self._groups.ratio(values, whole, mask)

    def p(self, differences: np.ndarray) -> float:
        """Two-sided p of a mean difference of zero, by sign flips of whole groups.

        Differences that are not finite on a chosen group have p = 1.
        """
        mask = self.mask()
        if not np.isfinite(differences[mask]).all():
            return 1.0
        return self._groups.sign_flip_p(np.where(mask, differences, np.nan))
