"""The sweep: measures conditions on examples, keeps what is on disk, counts what it takes."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ablate2tune.ablation import Means, Verification, collect_means, verify
from ablate2tune.components import Catalogue, Component, discover
from ablate2tune.errors import UserError
from ablate2tune.localize.condition import Condition
from ablate2tune.localize.engine import BASELINE, Engine
from ablate2tune.localize.examples import Examples, Split, encode
from ablate2tune.localize.margin import Batch, Levels, batch_loss, batches, measure, run_captions
from ablate2tune.localize.racing import race, spread_order
from ablate2tune.localize.ranking import Analysis, Row
from ablate2tune.localize.results import Results
from ablate2tune.localize.screening import can_screen, first_order_losses
from ablate2tune.pipelines import FluxDenoiser, Progress
from ablate2tune.recipe import LocalizeConfig

Measured = list[tuple[Component, Condition]]
NOT_FINITE = "the loss without it is not finite"
SCREEN_FROM = 48
"""Conditions from which on gradient screening costs little beside what it steadies."""


class Sweep:
    """Runs what is not on disk yet, examples in the outer loop and conditions in the inner one.

    The examples of a batch share their baseline run with all conditions. Batches are the same
    whatever was measured before, so a resumed sweep gives the same figures.
    """

    def __init__(
        self,
        denoiser: FluxDenoiser,
        split: Split,
        config: LocalizeConfig,
        seed: int,
        folder: Path,
        on_progress: Progress | None,
    ):
        """Encode the measured examples and read what an earlier run left."""
        self._began = time.perf_counter()
        self.catalogue: Catalogue = discover(denoiser.model)
        self.config, self._denoiser, self._seed = config, denoiser, seed
        self.engine = Engine(
            denoiser, config.batch_size, config.prefix_reuse, config.batch_conditions
        )
        self._calibration = split.calibration
        self.examples: Examples = encode(denoiser, split.measured)
        self._all = range(len(self.examples))
        ids, groups = self.examples.ids, self.examples.groups
        levels = len(config.sigmas)
        self.results = Results(folder / "results.jsonl", ids, groups, levels)
        self.screened = Results(folder / "screening.jsonl", ids, groups, levels, "gradient")
        self._levels = Levels(config.sigmas, config.noises, seed, config.batch_size)
        self._rows = len(self.examples) * self._levels.rows_per_example
        self._on_progress, self._planned = on_progress, 0.0
        self._calibrated: set[str] = set()

    @property
    def baseline_cost(self) -> int:
        """Block evaluations of the baseline on all examples."""
        return self.engine.cost(BASELINE, self._rows)

    def analysis(self) -> Analysis:
        """Statistics over the conditions that ran."""
        return Analysis(self.results, self.examples.groups, self.config, self._seed, self.screened)

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

    def verify(self) -> Verification:
        """Check the ablations on a batch of the measured examples at the first noise level."""
        batch = next(iter(batches(self.examples, self._levels, self._all[:2], self._device)))
        batch = batch[: min(2, len(self._all))]

        def run() -> Tensor:
            return batch_loss(self._denoiser, batch)

        return verify(self._denoiser.model, run)

    def rank(self, measured: Measured, budget: float) -> tuple[list[Row], dict[str, str]]:
        """Measure components of one level: all on all examples, or as the race goes.

        Args:
            measured: components with their conditions.
            budget: block evaluations that the race may take.

        Returns:
            Their rows, best first, and components with losses that are not finite, with the
            reason, which are not ranked.
        """
        conditions = [condition for _, condition in measured]
        exhaustive = sum(self.engine.cost(condition, self._rows) for condition in conditions)
        self.plan(min(budget, exhaustive) if self.config.racing else exhaustive)
        self._run(conditions, budget)
        analysis = self.analysis()
        finite = [pair for pair in measured if analysis.is_finite(pair[1])]
        broken = {part.address: NOT_FINITE for part, c in measured if not analysis.is_finite(c)}
        return analysis.rows(finite), broken

    def _run(self, conditions: Sequence[Condition], budget: float) -> None:
        self._calibrate(conditions)
        if not self.config.racing:
            self._measure(conditions, self._all)
            return
        if self._screens(conditions):
            self._screen(conditions)
            budget -= 2 * self.baseline_cost
        analysis = self.analysis()
        margins = self.results[BASELINE].spatial.mean(1)
        order = spread_order(self.examples.groups, margins, self._seed)
        per_group = self._rows / len(order)

        def cost(condition: Condition, groups: int) -> float:
            return self.engine.cost(condition, 1) * per_group * groups

        def measure_groups(conditions: Sequence[Condition], groups: int) -> None:
            chosen = set(order[:groups])
            self._measure(conditions, [i for i in self._all if self._group(i) in chosen])

        race(
            conditions,
            len(order),
            self.config.race_top,
            budget,
            cost,
            measure_groups,
            analysis.standing,
        )

    def plan(self, evaluations: float) -> None:
        """Say how many block evaluations are still to come, for the progress bar."""
        self._planned = self.engine.evaluations + evaluations

    def _group(self, index: int) -> str:
        return self.examples.groups[index]

    @property
    def _device(self) -> torch.device:
        return self._denoiser.device

    def _screens(self, conditions: Sequence[Condition]) -> bool:
        setting = self.config.screening
        return setting == "on" or (setting == "auto" and len(conditions) >= SCREEN_FROM)

    def _measure(self, conditions: Sequence[Condition], wanted: Sequence[int]) -> None:
        """Measure conditions on examples; a chunk with any row missing is run again whole."""
        step = self._levels.examples_per_batch
        for start in range(0, len(wanted), step):
            chunk = list(wanted[start : start + step])
            if all(self.results.measured(condition)[chunk].all() for condition in conditions):
                continue
            began = time.perf_counter()
            found = measure(
                self.engine.losses, self.examples, self._levels, chunk, conditions, self._device
            )
            self.results.add_all(found, time.perf_counter() - began, chunk)
            self._report()

    def _screen(self, conditions: Sequence[Condition]) -> None:
        """First-order estimates of the conditions that allow one, on all examples."""
        conditions = [condition for condition in conditions if can_screen(condition)]
        step = self._levels.examples_per_batch
        for start in self._all[::step]:
            chunk = list(self._all[start : start + step])
            if all(self.screened.measured(c)[chunk].all() for c in conditions):
                continue
            began = time.perf_counter()

            def losses(batch: Batch, wanted: Sequence[Condition]) -> dict[Condition, np.ndarray]:
                return first_order_losses(self.engine, batch, wanted)

            found = measure(losses, self.examples, self._levels, chunk, conditions, self._device)
            self.screened.add_all(found, time.perf_counter() - began, chunk)
            self._report()

    def _calibrate(self, conditions: Sequence[Condition]) -> None:
        """Collect the means that mode `mean` needs and that are not there yet."""
        addresses = [
            address
            for condition in conditions
            if condition.mode == "mean" and condition not in self.results
            for address in condition.addresses
            if address not in self._calibrated
        ]
        if not addresses:
            return
        examples = encode(self._denoiser, self._calibration)

        def calibrate(means: Means) -> None:
            def on_sigma(index: int) -> None:
                means.sigma_index = index

            with self.engine.blocks.running():
                run_captions(self._denoiser, examples, self._levels, on_sigma)

        self.engine.means = collect_means(self._denoiser.model, addresses, calibrate)
        self._calibrated = set(addresses)

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
        }

    def finish(self) -> None:
        """Put the rows on disk in order, and say that all is done."""
        self.results.put_in_order([BASELINE])
        self.plan(0)
        self._report()

    def _report(self) -> None:
        if self._on_progress:
            done = self.engine.evaluations
            self._on_progress(done, max(done, round(self._planned)))
