"""The margin probe: how much better a picture is explained by its caption than by a foil.

Forwards on noised pictures alone, without sampling (see `margins.margin`); conditions of one batch
share the blocks before the first that they ablate, and one backward pass estimates all of them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from ablate2tune.components import Component
from ablate2tune.localize.margins.caption_losses import (
    TEXTS,
    Batch,
    Donors,
    Levels,
    Losses,
    batch_loss,
    batches,
    measure,
)
from ablate2tune.localize.margins.encoded_examples import Examples, encode
from ablate2tune.localize.margins.gain import Step, slopes, steepest, weight_gradients
from ablate2tune.localize.margins.phrase_tokens import token_masks
from ablate2tune.localize.measuring.condition import BASELINE, Condition
from ablate2tune.localize.measuring.engine import Engine
from ablate2tune.localize.measuring.results import Values
from ablate2tune.localize.measuring.screening import can_screen, first_order_losses
from ablate2tune.localize.measuring.sweep_identity import sweep_identity
from ablate2tune.localize.probes.engine_probe import EngineProbe
from ablate2tune.localize.probes.figure import Figure
from ablate2tune.localize.probes.margin_config import MarginConfig
from ablate2tune.localize.probes.probe import PROBES, Needs, Setting
from ablate2tune.progress import Progress
from ablate2tune.seeding import numpy_generator, seed_for


class MarginProbe(EngineProbe[MarginConfig]):
    """Loss under the foil minus loss under the caption, per picture and noise level."""

    name = "margin"
    config = MarginConfig
    figures = (
        Figure("target", "margin over the target foil", role="target", ranks=True),
        Figure("control", "margin over the control foil", role="control"),
        Figure(
            "quality",
            "minus the loss",
            role="quality",
            critical=lambda base, lost: lost["low"] >= -base,
            collapse="the loss at least doubles",
        ),
    )
    title = "what is lost without a component"
    takes = frozenset(
        (
            *("heads", "projections", "tokens", "strips", "joint", "gradient", "scout"),
            *("images", "information", "noise_floor", "minutes"),
        )
    )
    races = True
    values = False

    def __init__(self, setting: Setting[MarginConfig]):
        """Nothing is computed yet; pictures and captions are encoded when they are first read."""
        super().__init__(setting)
        config = setting.config
        self.parts = config.sigmas
        self.engine = Engine(
            setting.denoiser, config.batch_size, config.prefix_reuse, config.batch_conditions
        )
        self.levels = setting.levels
        if self.levels.texts < TEXTS:  # nothing tells what is lost beside the target
            self.figures = tuple(f for f in self.figures if f.role != "control")
        self.calibration = setting.calibration
        self._slopes: dict[str, tuple[int, np.ndarray]] = {}

    @classmethod
    def needs(cls, config: MarginConfig, judged: bool) -> Needs:
        """Contrast groups; and a judge of the model's own pictures, where these are measured."""
        return Needs(config.groups, "localize.groups", judge=config.images != "rendered")

    @cached_property
    def examples(self) -> Examples:
        """The measured examples, encoded."""
        measured, config = self.setting.split.measured, self.setting.config
        examples = encode(self.denoiser, measured)
        if not config.tokens:
            return examples
        masks = token_masks(self.denoiser, examples, measured, config.tokens)
        return replace(examples, tokens=masks)

    @property
    def ids(self) -> list[str]:
        """Unique names of the examples."""
        return self.examples.ids

    @property
    def groups(self) -> list[str]:
        """The contrast group of each example."""
        return self.examples.groups

    @property
    def batch(self) -> int:
        """Examples whose captions fit in one forward."""
        return self.levels.examples_per_batch

    def identity(self) -> dict[str, Any]:
        """All that the margins depend on."""
        split = self.setting.split
        return sweep_identity(self.setting.model, split.measured, split.calibration, self.levels)

    def cost(self, condition: Condition, examples: int) -> int:
        """Block evaluations of a condition on that many examples."""
        return self.engine.cost(condition, examples * self.levels.rows_per_example)

    def shared_cost(self, examples: int) -> int:
        """Block evaluations of the trace that conditions share."""
        traced = self.setting.config.prefix_reuse and not self.engine.prefix_obstacle
        return self.cost(BASELINE, examples) if traced else 0

    def prepare(self, conditions: Sequence[Condition], write: bool) -> None:
        """Provide what the conditions need of calibration."""
        self.calibration.prepare(self.engine, conditions, write)

    def measure(
        self, conditions: Sequence[Condition], chunk: Sequence[int]
    ) -> dict[Condition, Values]:
        """Margins of some examples under each condition."""
        return self._measure(conditions, chunk, self.engine.losses, self.levels)

    def first_order(
        self, conditions: Sequence[Condition], chunk: Sequence[int]
    ) -> dict[Condition, Values]:
        """The same as one backward pass predicts it, for conditions that `can_screen`."""

        def losses(batch: Batch, wanted: Sequence[Condition]) -> dict[Condition, np.ndarray]:
            return first_order_losses(self.engine, batch, wanted)

        return self._measure(conditions, chunk, losses, self.levels)

    def reseeded(
        self, conditions: Sequence[Condition], chunk: Sequence[int]
    ) -> dict[Condition, Values]:
        """The same on other noise."""
        levels = replace(self.levels, seed=seed_for(self.setting.seed, "reseeded-baseline"))
        return self._measure(conditions, chunk, self.engine.losses, levels)

    def _measure(
        self,
        conditions: Sequence[Condition],
        chunk: Sequence[int],
        losses: Losses,
        levels: Levels,
    ) -> dict[Condition, Values]:
        found = measure(
            losses,
            self.examples,
            levels,
            chunk,
            conditions,
            self.denoiser.device,
            self._donors(conditions),
        )
        names = [figure.name for figure in self.figures]
        return {c: {name: getattr(margins, name) for name in names} for c, margins in found.items()}

    def _donors(self, conditions: Sequence[Condition]) -> Donors | None:
        """A calibration example for each measured one, if any condition needs one."""
        if not any(condition.needs("donors") for condition in conditions):
            return None
        examples = self.calibration.examples
        order = numpy_generator(self.setting.seed, "resample-donors").permutation(len(examples))
        return Donors(examples, [int(order[i % len(order)]) for i in range(len(self.examples))])

    def can_screen(self, condition: Condition) -> bool:
        """Whether a condition has a first-order estimate."""
        return can_screen(condition)

    def gains(
        self,
        components: Sequence[Component],
        choosing: Sequence[int],
        judging: Sequence[int],
        report: Progress | None = None,
    ) -> dict[str, np.ndarray]:
        """First-order gain of an adapter on each component, per parameter (see `gain`).

        Modules that were asked for before with the same examples are not measured again.

        Args:
            components: what an adapter would be put on.
            choosing: places of the examples that choose its direction.
            judging: places of others, which tell what that gains.
            report: told (examples done, examples in all).
        """
        wanted = dict.fromkeys(name for part in components for name in part.linears)
        missing = [name for name in wanted if name not in self._slopes]
        if missing:
            tell, total = report or (lambda *_: None), len(choosing) + len(judging)
            steps = self._steps(missing, choosing, lambda done: tell(done, total))
            slopes = self._slopes_along(
                steps, judging, lambda done: tell(len(choosing) + done, total)
            )
            self._slopes |= {name: (steps[name].parameters, slopes[name]) for name in missing}
        found: dict[str, np.ndarray] = {}
        for part in components:
            own = [self._slopes[name] for name in part.linears]
            parameters = max(1, sum(count for count, _ in own))
            along = np.zeros(len(judging)) + sum(slope for _, slope in own)
            found[part.address] = along / parameters
        return found

    def _steps(
        self, modules: Sequence[str], wanted: Sequence[int], tell: Callable[[int], None]
    ) -> dict[str, Step]:
        every = (batch for _, batch in self._batches_of(wanted, tell))
        gradients = weight_gradients(self.engine, every, modules, len(self.examples.rows))
        rank = self.setting.config.adapter_rank
        return {name: steepest(gradient, rank) for name, gradient in gradients.items()}

    def _slopes_along(
        self, steps: dict[str, Step], wanted: Sequence[int], tell: Callable[[int], None]
    ) -> dict[str, np.ndarray]:
        """Mean over noise levels and draws, (wanted,) per module."""
        found, texts = {name: np.zeros(len(wanted)) for name in steps}, len(self.examples.rows)
        for start, batch in self._batches_of(wanted, tell):
            for name, values in slopes(self.engine, batch, steps, texts).items():
                found[name][start : start + len(values)] += values
        draws = len(self.levels.sigmas) * self.levels.noises
        return {name: values / draws for name, values in found.items()}

    def _batches_of(
        self, wanted: Sequence[int], tell: Callable[[int], None]
    ) -> Iterator[tuple[int, Batch]]:
        """All batches of some examples, each with the place of its first among them."""
        for start in range(0, len(wanted), self.batch):
            chunk = wanted[start : start + self.batch]
            for batch in batches(self.examples, self.levels, chunk, self.denoiser.device):
                yield start, batch
            tell(min(start + self.batch, len(wanted)))

    @property
    def reuses(self) -> bool:
        """As the recipe says."""
        return self.setting.config.prefix_reuse

    def few_rows(self) -> Batch:
        """A few rows at the first noise level and draw."""
        chunk, device = range(len(self.examples))[:2], self.denoiser.device
        first = next(iter(batches(self.examples, self.levels, chunk, device, others=True)))
        return first[: len(chunk)]

    def predicted(self, few: Batch) -> Tensor:
        """Their losses."""
        return batch_loss(self.denoiser, few)


PROBES.add(MarginProbe.name, MarginProbe)
