"""The sweep: measures conditions on examples, keeps what is on disk, counts what it takes."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ablate2tune.ablation import Verification, verify
from ablate2tune.components import Catalogue, Component, discover, lora_targets
from ablate2tune.errors import UserError
from ablate2tune.localize.localize_config import LocalizeConfig
from ablate2tune.localize.margins.examples import Examples, Split, encode
from ablate2tune.localize.margins.gain import adapter_gain, weight_gradients
from ablate2tune.localize.margins.margin import (
    Batch,
    Donors,
    Levels,
    Losses,
    batch_loss,
    batches,
    measure,
)
from ablate2tune.localize.margins.phrases import token_masks
from ablate2tune.localize.measuring.activation_means import Calibration
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.measuring.engine import BASELINE, Engine
from ablate2tune.localize.measuring.processes import Processes
from ablate2tune.localize.measuring.racing import race, spread_order
from ablate2tune.localize.measuring.results import Probe, Results
from ablate2tune.localize.measuring.screening import can_screen, first_order_losses
from ablate2tune.localize.measuring.sweep_identity import claim, model_hash, sweep_identity
from ablate2tune.localize.ranking.ranking import Analysis
from ablate2tune.models import Denoiser, Progress
from ablate2tune.seeding import numpy_generator, seed_for

Measured = list[tuple[Component, Condition]]
NOT_FINITE = "the loss without it is not finite"
RESEEDED_GROUPS = 12
"""Contrast groups on which the noise floor is measured."""
SCREEN_FROM = 48
"""Conditions from which on gradient screening costs little beside what it steadies."""


class Sweep:
    """Runs what is not on disk yet, examples in the outer loop and conditions in the inner one.

    The examples of a batch share their baseline run with all conditions. Batches are the same
    whatever was measured before, so a resumed sweep gives the same figures.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        split: Split,
        config: LocalizeConfig,
        seed: int,
        folder: Path,
        on_progress: Progress | None,
        cache: Path | None = None,
    ):
        """Encode the measured examples and read what an earlier run left.

        Raises:
            UserError: the folder holds the results of another sweep.
        """
        self._began = time.perf_counter()
        self.catalogue: Catalogue = discover(denoiser.model)
        self.config, self.seed, self._denoiser = config, seed, denoiser
        self.engine = Engine(
            denoiser, config.batch_size, config.prefix_reuse, config.batch_conditions
        )
        self._levels = Levels(config.sigmas, config.noises, seed, config.batch_size)
        self.processes = Processes(denoiser)
        model = model_hash(denoiser)
        self.calibration = Calibration(denoiser, split.calibration, self._levels, model, cache)
        identity = sweep_identity(model, split.measured, split.calibration, self._levels)
        claim(folder, identity, write=self.processes.is_first)
        self.examples: Examples = encode(denoiser, split.measured)
        if config.tokens:
            masks = token_masks(denoiser, self.examples, split.measured, config.tokens)
            self.examples = replace(self.examples, tokens=masks)
        self._all = range(len(self.examples))
        ids, groups = self.examples.ids, self.examples.groups
        levels = len(config.sigmas)

        def rows_of(name: str, probe: Probe = "margin") -> Results:
            path = folder / name
            self._files.append(path)
            own = self.processes.own_file(path)
            return self.processes.open(Results(path, ids, groups, levels, probe, own), path)

        self._files: list[Path] = []
        self.results = rows_of("results.jsonl")
        self.screened = rows_of("screening.jsonl", "gradient")
        self._reseeded = rows_of("reseeded.jsonl")
        self.followed_up = rows_of("follow-up.jsonl")
        self._rows = len(self.examples) * self._levels.rows_per_example
        self._on_progress, self._planned = on_progress, 0.0

    @property
    def baseline_cost(self) -> int:
        """Block evaluations of the baseline on all examples."""
        return self.engine.cost(BASELINE, self._rows)

    def analysis(self) -> Analysis:
        """Statistics over the conditions that ran."""
        return Analysis(self.results, self.examples.groups, self.config, self.seed, self.screened)

    def baseline(self) -> Analysis:
        """Measure the baseline on all examples.

        Raises:
            UserError: a loss is not finite.
        """
        self._measure([BASELINE], self._all)
        if not all(np.isfinite(values).all() for values in self.results[BASELINE]):
            raise UserError(
                "the loss is not finite",
                where="baseline",
                mend="use model.dtype = float32 or bfloat16, or check the weights",
            )
        return self.analysis()

    def _small_batches(self) -> Iterator[Batch]:
        """A few rows at each noise level and draw."""
        chunk, device = self._all[:2], self._denoiser.device
        for batch in batches(self.examples, self._levels, chunk, device, others=True):
            yield batch[: len(chunk)]

    def run_levels(self) -> None:
        """Run the model once at each noise level, in their order."""
        for batch in list(self._small_batches())[:: self._levels.noises]:
            self.engine.losses(batch, [BASELINE])

    def impossible(self, conditions: Sequence[Condition]) -> dict[str, str]:
        """Of conditions with one address each, those that cannot be measured, with the reason."""
        batch, found = next(self._small_batches()), {}
        for condition in conditions:
            try:
                self.engine.losses(batch, [condition])
            except UserError as error:
                found[condition.addresses[0]] = str(error)
        return found

    def verify(self) -> Verification:
        """Check the ablations on a batch of the measured examples at the first noise level."""
        batch = next(self._small_batches())

        def run() -> Tensor:
            return batch_loss(self._denoiser, batch)

        with self.engine.blocks.running():
            return verify(self._denoiser.model, run)

    def measure(self, conditions: Sequence[Condition]) -> None:
        """Measure conditions on all examples; together they share the baseline's blocks."""
        self.plan(sum(self.engine.cost(condition, self._rows) for condition in conditions))
        self.calibrate(conditions)
        self._measure(conditions, self._all)

    def run(self, measured: Measured, budget: float) -> tuple[Measured, dict[str, str]]:
        """Measure components of one level: all on all examples, or as the race goes.

        Args:
            measured: components with their conditions.
            budget: block evaluations that the race may take.

        Returns:
            What can be ranked; and components whose losses are not finite, with the reason.
        """
        conditions = [condition for _, condition in measured]
        exhaustive = sum(self.engine.cost(condition, self._rows) for condition in conditions)
        self.plan(min(budget, exhaustive) if self.config.racing else exhaustive)
        self._run(conditions, budget)
        analysis = self.analysis()
        finite = [pair for pair in measured if analysis.is_finite(pair[1])]
        broken = {part.address: NOT_FINITE for part, c in measured if not analysis.is_finite(c)}
        return finite, broken

    def _run(self, conditions: Sequence[Condition], budget: float) -> None:
        if not self.config.racing:
            self.measure(conditions)
            return
        self.calibrate(conditions)
        analysis, order = self.analysis(), self.order()
        per_group = self._rows / len(order)

        def cost(condition: Condition, groups: int) -> float:
            return self.engine.cost(condition, 1) * per_group * groups

        def trace_cost(groups: int) -> float:
            traced = self.config.prefix_reuse and not self.engine.prefix_obstacle
            return self.engine.cost(BASELINE, 1) * per_group * groups if traced else 0.0

        def measure_groups(conditions: Sequence[Condition], places: range) -> None:
            self._measure(conditions, self.of_groups([order[place] for place in places]))

        race(
            conditions,
            len(order),
            self.config.race_top,
            budget,
            cost,
            measure_groups,
            analysis.standing,
            trace_cost,
        )

    def plan(self, evaluations: float) -> None:
        """Say how many block evaluations are still to come, for the progress bar."""
        self._planned = self.engine.evaluations + evaluations

    def follow_up(self, conditions: Sequence[Condition], groups: Sequence[str]) -> None:
        """Measure conditions on some groups, beside the rows that the ranking is made of.

        What the sweep measured of these conditions is not measured again. The rows are kept
        apart (`followed_up`), so that a resumed sweep races on the rows it had before.

        Args:
            conditions: what to measure; any may be joint.
            groups: contrast groups.
        """
        wanted = self.of_groups(groups)
        names = {self.examples.ids[index] for index in wanted}
        asked = {BASELINE, *conditions}
        known = [
            row
            for row in self.results.rows()
            if row["example"] in names and Condition(tuple(row["condition"]), row["mode"]) in asked
        ]
        self.followed_up.merge(known, write=False)
        missing = [c for c in conditions if not self.results.measured(c)[wanted].all()]
        rows = len(wanted) * self._levels.rows_per_example
        self.plan(sum(self.engine.cost(condition, rows) for condition in missing))
        self.calibrate(missing)
        if missing:
            self._measure(missing, wanted, self.followed_up)

    def of_groups(self, groups: Sequence[str]) -> list[int]:
        """Indices of the examples of some contrast groups, in their order."""
        chosen = set(groups)
        return [i for i in self._all if self.examples.groups[i] in chosen]

    def order(self) -> list[str]:
        """The order in which contrast groups are spent."""
        margins = self.results[BASELINE].target.mean(1)
        return spread_order(self.examples.groups, margins, self.seed)

    def _measure(
        self,
        conditions: Sequence[Condition],
        wanted: Sequence[int],
        into: Results | None = None,
        losses: Losses | None = None,
        levels: Levels | None = None,
    ) -> None:
        """Measure conditions on examples; a chunk with any row missing is run again whole.

        Chunks are about equally large (a small one would share its forwards between conditions
        that start at different blocks), dealt to the launcher's processes in turn and the same for
        any number.

        Args:
            conditions: what to measure.
            wanted: indices of the examples.
            into: where the rows go; results.jsonl by default.
            losses: how a batch is run; exactly by default.
            levels: the noise; the sweep's own by default.
        """
        into, levels = into or self.results, levels or self._levels
        chunks = max(1, math.ceil(len(wanted) / levels.examples_per_batch))
        step, new = max(1, math.ceil(len(wanted) / chunks)), []
        for number, start in enumerate(range(0, len(wanted), step)):
            chunk = list(wanted[start : start + step])
            done = all(into.measured(condition)[chunk].all() for condition in conditions)
            if done or not self.processes.owns(number):
                continue
            began = time.perf_counter()
            found = measure(
                losses or self.engine.losses,
                self.examples,
                levels,
                chunk,
                conditions,
                self._denoiser.device,
                self._donors(conditions),
            )
            new += into.add(found, time.perf_counter() - began, chunk)
            self._report()
        self.processes.exchange(into, new)

    def screen(self, conditions: Sequence[Condition]) -> bool:
        """First-order estimates of the conditions that allow one, on all examples.

        Returns:
            Whether the recipe wants them for so many conditions.
        """
        setting = self.config.screening
        wanted = setting == "on" or (setting == "auto" and len(conditions) >= SCREEN_FROM)
        if not (self.config.racing and wanted):
            return False
        self.calibrate(conditions)

        def losses(batch: Batch, wanted: Sequence[Condition]) -> dict[Condition, np.ndarray]:
            return first_order_losses(self.engine, batch, wanted)

        possible = [condition for condition in conditions if can_screen(condition)]
        if possible:
            self._measure(possible, self._all, self.screened, losses)
        return bool(possible)

    def reseeded(self) -> np.ndarray:
        """What other noise does to the baseline's target margin: baseline minus reseeded, (n,).

        Measured on the first groups of the race's order; nan elsewhere.
        """
        wanted = self.of_groups(self.order()[:RESEEDED_GROUPS])
        seed = seed_for(self.seed, "reseeded-baseline")
        levels = replace(self._levels, seed=seed)
        self._measure([BASELINE], wanted, self._reseeded, levels=levels)
        return (self.results[BASELINE].target - self._reseeded[BASELINE].target).mean(1)

    def gains(self, components: Sequence[Component]) -> dict[str, float]:
        """First-order gain of an adapter on each component, per parameter, by address (`gain`)."""
        wanted = self.of_groups(self.order()[: self.config.gradient_groups])
        step = self._levels.examples_per_batch
        modules = list(dict.fromkeys(name for part in components for name in lora_targets(part)))

        def every_batch() -> Iterator[Batch]:
            for start in range(0, len(wanted), step):
                yield from batches(
                    self.examples, self._levels, wanted[start : start + step], self._denoiser.device
                )
                self._report()

        gradients = weight_gradients(self.engine, every_batch(), modules)
        return {
            part.address: adapter_gain(
                [gradients[name] for name in lora_targets(part)], self.config.adapter_rank
            )
            for part in components
        }

    def calibrate(self, conditions: Sequence[Condition]) -> None:
        """Provide the means that mode `mean` needs of conditions that are not measured yet."""
        addresses = [
            address
            for condition in conditions
            if condition.mode == "mean" and condition not in self.results
            for address in condition.addresses
        ]
        self.calibration.provide(self.engine, addresses, write=self.processes.is_first)

    def _donors(self, conditions: Sequence[Condition]) -> Donors | None:
        """A calibration example for each measured one, if any condition resamples."""
        if not any(condition.mode == "resample" for condition in conditions):
            return None
        examples = self.calibration.examples
        order = numpy_generator(self.seed, "resample-donors").permutation(len(examples))
        return Donors(examples, [int(order[i % len(order)]) for i in self._all])

    def cost_dict(self) -> dict[str, Any]:
        """What this process spent, as in `cost.json`; rows that were on disk cost nothing."""
        conditions = len(self.results.conditions)
        return {
            "schema": "ablate2tune/cost/1",
            "block_evaluations": self.engine.evaluations,
            "exhaustive_block_evaluations": conditions * self._rows * len(self.engine.blocks),
            "conditions": conditions,
            "seconds": round(time.perf_counter() - self._began, 3),
            "halvings": self.engine.halvings,
            "prefix_reuse": self.config.prefix_reuse and self.engine.prefix_obstacle is None,
            "prefix_reuse_obstacle": self.engine.prefix_obstacle,
        }

    def finish(self) -> None:
        """Put the rows on disk in order, and say that all is done."""
        if self.processes.is_first:
            self.results.put_in_order([BASELINE])
        for path in self._files:
            self.processes.close(path)
        self.plan(0)
        self._report()

    def _report(self) -> None:
        if self._on_progress:
            done = self.engine.evaluations
            self._on_progress(done, max(done, round(self._planned)))
