"""What a probe declares and does: from examples under a condition to one number per figure.

A probe is one file: a class that registers itself in `PROBES`, with the type of its own section of
the recipe. Everything else (the sweep, rows, resumption, processes, racing, statistics, the
ranking and its files) serves every probe alike.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np

from ablate2tune.ablation import Verification, verify
from ablate2tune.compare.judges.judging import Judging, judge_hash
from ablate2tune.components import Component
from ablate2tune.contrasts.contrast import Contrast
from ablate2tune.localize.margins.caption_losses import Levels
from ablate2tune.localize.margins.encoded_examples import Split
from ablate2tune.localize.measuring.activation_means import Calibration
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.measuring.engine import Engine
from ablate2tune.localize.measuring.results import Values
from ablate2tune.localize.measuring.sweep_identity import sweep_identity
from ablate2tune.localize.probes.figure import Figure
from ablate2tune.localize.sampling import AblatedSampling, run_once
from ablate2tune.models import Denoiser, LanguageModel, Studied
from ablate2tune.progress import Progress
from ablate2tune.registry import Registry
from ablate2tune.settings import Settings

C = TypeVar("C", bound=Settings, covariant=True)
AT_ONCE = 50
"""Examples that are measured at once, where a probe does not say."""


class Needs(NamedTuple):
    """What a probe needs of the recipe's other parts."""

    groups: int
    """Contrast groups that it measures; 0 for none."""
    key: str
    """Where the recipe says so."""
    judge: bool = False
    """Whether pictures are judged."""


@dataclass(frozen=True)
class Setting(Generic[C]):
    """What a probe measures on and with."""

    studied: Studied
    """The model."""
    split: Split
    """Examples to measure and examples to calibrate on."""
    config: C
    """The probe's own section of the recipe."""
    levels: Levels
    """Noise levels, draws and seed; means are of these levels."""
    model: str
    """Hash of the model, from `sweep_identity.model_hash`."""
    folder: Path
    """Of the stage, for files of the probe's own."""
    judging: Judging | None = None
    """Where the probe needs it."""
    cache: Path | None = None
    """Folder of calibrated means, shared between runs."""
    directions: Path | None = None
    """File of directions, for a mode that takes them out; learnt by default."""

    @property
    def denoiser(self) -> Denoiser:
        """The model, for probes of pictures."""
        assert isinstance(self.studied, Denoiser), "the stage refuses other models"
        return self.studied

    @property
    def language_model(self) -> LanguageModel:
        """The model, for probes of text."""
        assert isinstance(self.studied, LanguageModel), "the stage refuses other models"
        return self.studied

    @property
    def seed(self) -> int:
        """Of everything drawn."""
        return self.levels.seed

    @cached_property
    def calibration(self) -> Calibration:
        """Where means and donors come from."""
        return Calibration(
            self.denoiser,
            self.split.calibration,
            self.levels,
            self.model,
            self.cache,
            self.directions,
        )

    @cached_property
    def sampling(self) -> AblatedSampling:
        """For probes that sample."""
        engine = Engine(self.denoiser, self.levels.batch_size)
        return AblatedSampling(self.denoiser, self.calibration, engine, self.levels)


class Probe(ABC, Generic[C]):
    """One way to measure what a model loses without a component."""

    name: ClassVar[str]
    """`localize.probe`, and the key of its section."""
    config: ClassVar[type[Settings]]
    """The type of its section."""
    figures: Sequence[Figure]
    """All that it can give; an instance, those that it does give."""
    unit: ClassVar[str]
    """Of its cost: "block evaluations", "pictures"."""
    title: ClassVar[str]
    """Of the table of its ranking."""
    takes: ClassVar[frozenset[str]] = frozenset()
    """Keys of `localize` that not every probe serves, and this one does."""
    shares: ClassVar[bool] = False
    """Whether conditions that are measured together share work, such as the baseline's blocks. If
    not, each is measured alone, and one that cannot be measured is left out."""
    language: ClassVar[bool] = False
    """Whether it measures language models on text; if not, pipelines on pictures."""
    reads_own: ClassVar[bool] = False
    """Whether it measures examples that it reads by itself (`own_examples`)."""
    samples: ClassVar[bool] = True
    """Whether the model runs over the steps of a sampler, so that not every mode is possible."""
    races: ClassVar[bool] = False
    """Whether components can be measured on a part of the examples first."""
    values: ClassVar[bool] = True
    """Whether the figures themselves are shown, beside what is lost of them."""
    version: ClassVar[int] = 1
    """Raised whenever the same inputs give other rows."""
    parts: Sequence[float] = ()
    """Noise levels at which each figure is measured apart; none where there is one number."""

    def __init__(self, setting: Setting[C]):
        """Nothing is computed yet."""
        self.setting = setting
        self.counted: float = 0

    @property
    def denoiser(self) -> Denoiser:
        """The model, for probes of pictures."""
        return self.setting.denoiser

    @classmethod
    def own_examples(cls, config: Any, studied: Studied) -> list[Contrast]:
        """Examples that the probe reads by itself.

        Args:
            config: its section.
            studied: the model.
        """
        raise NotImplementedError(f"probe {cls.name} measures the recipe's examples")

    @classmethod
    @abstractmethod
    def needs(cls, config: Any, judged: bool) -> Needs:
        """What it needs.

        Args:
            config: its section.
            judged: whether the recipe has a judge.

        Raises:
            UserError: nothing could be measured.
        """

    @property
    def ids(self) -> list[str]:
        """Unique names of the examples; the contrasts' by default."""
        return [example.id for example in self.setting.split.measured]

    @property
    def groups(self) -> list[str]:
        """What each example is resampled with; its cluster by default."""
        return [example.cluster for example in self.setting.split.measured]

    @property
    def spent(self) -> float:
        """What was spent so far, in the probe's unit; the sweep adds to `counted`."""
        return self.counted

    @property
    def batch(self) -> int:
        """Examples that are measured at once."""
        return AT_ONCE

    def identity(self) -> dict[str, Any]:
        """All that its rows depend on, JSON-able; rows of another identity are refused."""
        setting = self.setting
        split, judging = setting.split, setting.judging
        return {
            **sweep_identity(setting.model, split.measured, split.calibration, setting.levels),
            "probe": f"{self.name}/{self.version}",
            "section": setting.config.decisive(),
            "guidance_scale": self.setting.studied.config.guidance_scale,
            "judge": judge_hash(judging) if judging else None,
        }

    def cost(self, condition: Condition, examples: int) -> int:
        """What a condition takes on that many examples, in the probe's unit; 1 each by default."""
        return examples

    @abstractmethod
    def measure(
        self, conditions: Sequence[Condition], chunk: Sequence[int]
    ) -> dict[Condition, Values]:
        """Figures of some examples under each condition.

        Args:
            conditions: what to measure; one where the probe shares no work between them.
            chunk: places of the examples.

        Raises:
            ObstacleError: the condition cannot be measured.
        """

    def measure_set(self, condition: Condition) -> dict[str, float]:
        """Figures of all examples together, once each was measured; those of `of_set`."""
        return {}

    def facts(self, condition: Condition, chunk: Sequence[int]) -> list[dict[str, Any]]:
        """What else the rows of these examples say; nothing by default."""
        return []

    def prepare(self, conditions: Sequence[Condition], write: bool) -> None:
        """Make ready for conditions: calibrate means; `write` keeps them on the disk."""
        self.setting.sampling.prepare(conditions, write)

    def blocks_below(self, top: int) -> int:
        """How many of the best blocks' sub-layers are measured, where the recipe says `top`."""
        return top

    def shared_cost(self, examples: int) -> int:
        """What a run of conditions on that many examples takes beside their own cost."""
        return 0

    def verify(self) -> Verification:
        """Check that the ablations of the model do what they say, on noise without a picture."""
        sigma, seed = self.setting.levels.sigmas[0], self.setting.seed
        return verify(self.denoiser.model, lambda: run_once(self.denoiser, sigma, seed))

    def impossible(self, conditions: Sequence[Condition]) -> dict[str, str]:
        """Of conditions with one address each, those that cannot be measured, with the reason.

        Conditions that share no work are found out one by one when they are measured.
        """
        return {}

    def can_screen(self, condition: Condition) -> bool:
        """Whether `first_order` can estimate a condition."""
        return False

    def first_order(
        self, conditions: Sequence[Condition], chunk: Sequence[int]
    ) -> dict[Condition, Values]:
        """As `measure`, estimated from one backward pass."""
        raise NotImplementedError(f"probe {self.name} estimates nothing")

    def reseeded(
        self, conditions: Sequence[Condition], chunk: Sequence[int]
    ) -> dict[Condition, Values]:
        """As `measure`, on another draw of what is random."""
        raise NotImplementedError(f"probe {self.name} has one draw")

    def gains(
        self,
        components: Sequence[Component],
        choosing: Sequence[int],
        judging: Sequence[int],
        report: Progress | None = None,
    ) -> dict[str, np.ndarray]:
        """What an adapter could gain on each component, by address.

        Args:
            components: what an adapter would be put on.
            choosing: places of the examples that choose its direction.
            judging: places of others, which tell what that gains.
            report: told (examples done, examples in all).

        Returns:
            Gain per parameter of each judging example, (judging,).
        """
        raise NotImplementedError(f"probe {self.name} has no gradient")

    def cost_facts(self) -> dict[str, Any]:
        """What else `cost.json` says."""
        return {}

    def summary(self) -> dict[str, Any]:
        """What else `ranking.json` says."""
        return {}

    def notes(self) -> list[str]:
        """What to tell the user beside the ranking, one line each."""
        return []


Measure = Callable[[Sequence[Condition], Sequence[int]], dict[Condition, Values]]
"""As `Probe.measure`."""

PROBES: Registry[type[Probe[Any]]] = Registry("probe", __name__.rpartition(".")[0])
