"""The sweep: measures conditions on examples, keeps what is on disk, counts what it takes."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from ablate2tune import files
from ablate2tune.ablation import MODES
from ablate2tune.components import Catalogue, Component, discover
from ablate2tune.errors import UserError
from ablate2tune.localize.localize_config import LocalizeConfig
from ablate2tune.localize.measuring.chunks import Chunks
from ablate2tune.localize.measuring.condition import BASELINE, Condition
from ablate2tune.localize.measuring.processes import Processes
from ablate2tune.localize.measuring.racing import TOP, Standing, race, spread_order
from ablate2tune.localize.measuring.results import Results
from ablate2tune.localize.measuring.sweep_identity import claim
from ablate2tune.localize.probes.figure import of_role
from ablate2tune.localize.probes.probe import Measure, Probe
from ablate2tune.localize.ranking.ranking import Analysis
from ablate2tune.progress import Progress

P = TypeVar("P", bound=Probe[Any])
Measured = list[tuple[Component, Condition]]
NOT_FINITE = "the loss without it is not finite"
RESEEDED_GROUPS = 12
"""Contrast groups on which the noise floor is measured."""
SCREEN_FROM = 48
"""Conditions from which on gradient screening costs little beside what it steadies."""


class Sweep(Generic[P]):
    """Runs what is not on disk yet; a resumed sweep gives the same figures."""

    def __init__(
        self,
        probe: P,
        config: LocalizeConfig,
        folder: Path,
        processes: Processes,
        on_progress: Progress | None = None,
    ):
        """Take the folder, and read what an earlier run left.

        Raises:
            UserError: the folder holds the results of another sweep.
        """
        self._began = time.perf_counter()
        self.probe, self.config, self.processes = probe, config, processes
        self.seed = probe.setting.seed
        self.catalogue: Catalogue = discover(probe.setting.studied.model)
        identity = probe.identity()
        if config.directions:
            identity["directions"] = files.content_hash(config.directions)
        claim(folder, identity, write=processes.is_first)
        if processes.is_first:
            for left_over in folder.glob("**/.*.tmp"):  # of a killed process
                left_over.unlink()
        self.groups = probe.groups
        self._ids, self._all = probe.ids, range(len(probe.ids))
        self._folder, self._files = folder, list[Path]()
        self.results = self._open("results.jsonl")
        self.screened = self._open("screening.jsonl", "gradient")
        self._reseeded = self._open("reseeded.jsonl")
        self.followed_up = self._open("follow-up.jsonl")
        self._on_progress, self._planned = on_progress, 0.0
        self._asked: dict[Condition, None] = {}
        self._chunks = Chunks(probe, processes, self._report)

    def _open(self, name: str, by: str | None = None) -> Results:
        path, probe = self._folder / name, self.probe
        self._files.append(path)
        own, by = self.processes.own_file(path), by or probe.name
        names = [figure.name for figure in probe.figures]
        rows = Results(path, self._ids, self.groups, names, probe.parts, by, own)
        return self.processes.open(rows, path)

    def __len__(self) -> int:
        """How many examples are measured."""
        return len(self._ids)

    @property
    def baseline_cost(self) -> int:
        """What the baseline takes on all examples, in the probe's unit."""
        return self.probe.cost(BASELINE, len(self))

    def analysis(self) -> Analysis:
        """Statistics over the conditions that ran."""
        return Analysis(
            self.results,
            self.groups,
            self.probe.figures,
            self.config,
            self.seed,
            self.screened,
            self.probe.values,
        )

    def baseline(self) -> Analysis:
        """Measure the baseline on all examples.

        Raises:
            UserError: a loss is not finite.
        """
        self._measure([BASELINE], self._all)
        analysis = self.analysis()
        if not analysis.is_finite(BASELINE):
            raise UserError(
                "the loss is not finite",
                where="baseline",
                mend=self.probe.setting.studied.config.mend_not_finite,
            )
        return analysis

    def measure(self, conditions: Sequence[Condition]) -> dict[str, str]:
        """Measure conditions on all examples, together.

        Returns:
            Addresses of conditions that could not be measured, with the reason.
        """
        self.plan(sum(self.probe.cost(condition, len(self)) for condition in conditions))
        self.calibrate(conditions)
        return self._measure(conditions, self._all)

    def fitting(self, measured: Measured) -> tuple[Measured, dict[str, str]]:
        """Components that their mode fits; and those that it does not fit, with the reason."""
        tried = [condition for _, condition in measured if MODES[condition.mode].tried]
        if not (tried and self.probe.shares):
            return measured, {}
        self.probe.prepare(tried, write=self.processes.is_first)
        unfit = self.probe.impossible(tried)
        return [pair for pair in measured if pair[0].address not in unfit], unfit

    def run(self, measured: Measured, budget: float) -> tuple[Measured, dict[str, str]]:
        """Measure components of one level: all on all examples, or as the race goes.

        Args:
            measured: components with their conditions.
            budget: what the race may take, in the probe's unit.

        Returns:
            What can be ranked; and components that could not be measured, with the reason.
        """
        conditions = [condition for _, condition in measured]
        exhaustive = sum(self.probe.cost(condition, len(self)) for condition in conditions)
        self.plan(min(budget, exhaustive) if self.races else exhaustive)
        broken: dict[str, str] = {}
        if self.races:
            self._race(conditions, budget)
        else:
            broken = self.measure(conditions)
        analysis = self.analysis()
        for part, condition in measured:
            if part.address not in broken and not analysis.is_finite(condition):
                broken[part.address] = NOT_FINITE
        return [pair for pair in measured if pair[0].address not in broken], broken

    @property
    def races(self) -> bool:
        """Whether components are measured on a part of the examples first."""
        return self.config.racing and self.probe.races

    def _race(self, conditions: Sequence[Condition], budget: float) -> None:
        self.calibrate(conditions)
        analysis, order = self.analysis(), self.order()
        per_group = len(self) / len(order)

        def cost(condition: Condition, groups: int) -> float:
            return self.probe.cost(condition, 1) * per_group * groups

        def shared_cost(groups: int) -> float:
            return self.probe.shared_cost(1) * per_group * groups

        place = {group: i for i, group in enumerate(order)}
        of_example = np.array([place[group] for group in self.groups])

        def standing(condition: Condition, groups: int) -> Standing:
            return analysis.standing(condition, of_example < groups)

        def measure_groups(conditions: Sequence[Condition], places: range) -> None:
            self._measure(conditions, self.of_groups([order[place] for place in places]))

        race(
            conditions,
            len(order),
            TOP,
            budget,
            cost,
            measure_groups,
            standing,
            shared_cost,
        )

    def plan(self, evaluations: float) -> None:
        """Say what is still to come, in the probe's unit, for the progress bar."""
        self._planned = self.probe.spent + evaluations

    def follow_up(self, conditions: Sequence[Condition], groups: Sequence[str]) -> None:
        """Measure conditions on some groups, beside the rows that the ranking is made of.

        What the sweep measured of these conditions is not measured again. The rows are kept
        apart (`followed_up`), so that a resumed sweep races on the rows it had before.

        Args:
            conditions: what to measure; any may be joint.
            groups: contrast groups.
        """
        wanted = self.of_groups(groups)
        names = {self._ids[index] for index in wanted}
        asked = {BASELINE, *conditions}
        known = [
            row
            for row in self.results.rows()
            if row["example"] in names and Condition(tuple(row["condition"]), row["mode"]) in asked
        ]
        self.followed_up.merge(known, write=False)
        missing = [c for c in conditions if not self.results.measured(c)[wanted].all()]
        self.plan(sum(self.probe.cost(condition, len(wanted)) for condition in missing))
        self.calibrate(missing)
        if missing:
            self._measure(missing, wanted, self.followed_up)

    def of_groups(self, groups: Sequence[str]) -> list[int]:
        """Indices of the examples of some contrast groups, in their order."""
        chosen = set(groups)
        return [i for i in self._all if self.groups[i] in chosen]

    def order(self) -> list[str]:
        """The order in which contrast groups are spent."""
        margins = self._target(self.results).mean(1)
        return spread_order(self.groups, margins, self.seed)

    def _target(self, results: Results) -> np.ndarray:
        """The baseline's target figure, (n, parts)."""
        figure = of_role(self.probe.figures, "target")
        assert figure is not None, "a probe that races or redraws has a target"
        return results[BASELINE][figure.name]

    def _measure(
        self,
        conditions: Sequence[Condition],
        wanted: Sequence[int],
        into: Results | None = None,
        by: Measure | None = None,
    ) -> dict[str, str]:
        """Measure conditions on examples, as `Chunks.measure` does.

        Args:
            conditions: what to measure.
            wanted: indices of the examples.
            into: where the rows go; results.jsonl by default.
            by: how they are measured; as the probe does by default.

        Returns:
            Addresses of conditions that could not be measured, with the reason.
        """
        if into is None:
            self._asked |= dict.fromkeys(conditions)
        by = by or self.probe.measure
        return self._chunks.measure(conditions, wanted, into or self.results, by)

    def screen(self, conditions: Sequence[Condition]) -> bool:
        """First-order estimates of the conditions that allow one, on all examples.

        Returns:
            Whether the recipe wants them for so many conditions.
        """
        setting = self.config.screening
        wanted = setting == "on" or (setting == "auto" and len(conditions) >= SCREEN_FROM)
        if not (self.races and wanted):
            return False
        self.calibrate(conditions)
        possible = [condition for condition in conditions if self.probe.can_screen(condition)]
        if possible:
            self._measure(possible, self._all, self.screened, self.probe.first_order)
        return bool(possible)

    def reseeded(self) -> np.ndarray:
        """What other noise does to the baseline's target figure: baseline minus reseeded, (n,).

        Measured on the first groups of the race's order; nan elsewhere.
        """
        wanted = self.of_groups(self.order()[:RESEEDED_GROUPS])
        self._measure([BASELINE], wanted, self._reseeded, self.probe.reseeded)
        return (self._target(self.results) - self._target(self._reseeded)).mean(1)

    def gains(self, components: Sequence[Component]) -> dict[str, np.ndarray]:
        """What an adapter could gain on each component, per parameter, by address.

        Every second group of the race's order chooses the adapter's direction; the others judge it.

        Returns:
            (n,) each; nan for the examples that chose.
        """
        order = self.order()
        choosing, judging = (self.of_groups(order[half::2]) for half in (0, 1))
        found: dict[str, np.ndarray] = {}
        gains = self.probe.gains(components, choosing, judging, lambda *_: self._report())
        for address, values in gains.items():
            found[address] = np.full(len(self), np.nan)
            found[address][judging] = values
        return found

    def calibrate(self, conditions: Sequence[Condition]) -> None:
        """Make the probe ready for conditions, unless all of them are measured.

        A chunk that lacks any row is run again under all of them, also under those that lack none.
        """
        if not all(condition in self.results for condition in conditions):
            self.probe.prepare(conditions, write=self.processes.is_first)

    def cost_dict(self) -> dict[str, Any]:
        """What this process spent, as in `cost.json`; rows that were on disk cost nothing."""
        conditions, unit = len(self.results.conditions), self.probe.unit.replace(" ", "_")
        return {
            "schema": "ablate2tune/cost/1",
            unit: self.probe.spent,
            f"exhaustive_{unit}": conditions * self.baseline_cost,
            "conditions": conditions,
            "seconds": round(time.perf_counter() - self._began, 3),
            **self.probe.cost_facts(),
        }

    def finish(self) -> None:
        """Put the rows on disk in order, and say that all is done."""
        if self.processes.is_first:
            self.results.begin_with(list(self._asked))
        for path in self._files:
            self.processes.close(path)
        self.plan(0)
        self._report()

    def _report(self) -> None:
        if self._on_progress:
            done = round(self.probe.spent)
            self._on_progress(done, max(done, round(self._planned)))
