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
from ablate2tune.localize.measuring.group_race import race_over_groups
from ablate2tune.localize.measuring.processes import Processes
from ablate2tune.localize.measuring.purse import Purse
from ablate2tune.localize.measuring.racing import spread_order
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
PACE = "pace.json"
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

    def run(self, measured: Measured, purse: Purse, wanted: int) -> tuple[Measured, dict[str, str]]:
        """Measure components of one level: all on all examples, or as the race goes.

        Args:
            measured: components with their conditions.
            purse: what the race may take its part of.
            wanted: how many modules the best of them must hold, until which the race goes on; 0
                where none are to be told from the rest.

        Returns:
            What can be ranked; and components that could not be measured, with the reason.
        """
        conditions = [condition for _, condition in measured]
        spent = float(sum(self.probe.cost(condition, len(self)) for condition in conditions))
        share = purse.part(len(measured))
        self.plan(min(share, spent) if self.races else spent)
        broken: dict[str, str] = {}
        if self.races and conditions:
            spent = self._race(measured, share, wanted)
        elif not self.races:
            broken = self.measure(conditions)
        purse.pay(spent, len(measured))
        analysis = self.analysis()
        for part, condition in measured:
            if part.address not in broken and not analysis.is_finite(condition):
                broken[part.address] = NOT_FINITE
        return [pair for pair in measured if pair[0].address not in broken], broken

    @property
    def races(self) -> bool:
        """Whether components are measured on a part of the examples first."""
        return self.config.racing and self.probe.races

    def _race(self, measured: Measured, budget: float, wanted: int) -> float:
        sizes = {condition: max(1, len(part.linears)) for part, condition in measured}
        self.calibrate(list(sizes))

        def measure(conditions: Sequence[Condition], groups: Sequence[str]) -> None:
            self._measure(conditions, self.of_groups(groups))

        return race_over_groups(
            self.analysis(),
            sizes,
            wanted,
            budget,
            self.groups,
            self.order(),
            self.probe.cost,
            self.probe.shared_cost,
            measure,
        )

    def pace(self) -> float:
        """What was measured of the baseline in a second, in the probe's unit.

        Kept in pace.json from the first time on, so that what a time pays for is the same in
        every later run, on any number of processes.
        """
        path = self._folder / PACE
        if path.exists():
            found = files.read_json(path)["per_second"]
        else:
            seconds = [row["seconds"] for row in self.results.rows() if not row["condition"]]
            one = max(1e-6, float(np.median(seconds)))
            found = self.processes.count * self.probe.cost(BASELINE, 1) / one
        pace = float(self.processes.gather([found])[0])
        if self.processes.is_first and not path.exists():
            files.write_json(path, {"schema": "ablate2tune/pace/1", "per_second": pace})
        return pace

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

    def _target(self, results: Results, condition: Condition = BASELINE) -> np.ndarray:
        """A condition's target figure, (n, parts)."""
        figure = of_role(self.probe.figures, "target")
        assert figure is not None, "a probe that races or redraws has a target"
        return results[condition][figure.name]

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

    def reseeded(self, conditions: Sequence[Condition]) -> list[np.ndarray]:
        """What other noise does to the target impact of conditions: impact minus reseeded, (n,).

        Measured on the first groups of the race's order; nan elsewhere.
        """
        wanted = self.of_groups(self.order()[:RESEEDED_GROUPS])
        self._measure([BASELINE, *conditions], wanted, self._reseeded, self.probe.reseeded)

        def change(condition: Condition) -> np.ndarray:
            return self._target(self.results, condition) - self._target(self._reseeded, condition)

        base = change(BASELINE)
        return [(base - change(condition)).mean(1) for condition in conditions]

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
