"""What a probe declares and does: from examples under a condition to one number per figure.

A probe is one file: a class that registers itself in `PROBES`, with the type of its own section of
the recipe. Everything else (the sweep, rows, resumption, processes, racing, statistics, the
ranking and its files) serves every probe alike.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from ablate2tune.ablation import Verification, verify
from ablate2tune.components import Component
from ablate2tune.localize.margins.examples import Split
from ablate2tune.localize.margins.margin import noised_batch
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.models import Denoiser
from ablate2tune.progress import Progress
from ablate2tune.registry import Registry
from ablate2tune.seeding import torch_generator
from ablate2tune.settings import Settings

C = TypeVar("C", bound=Settings, covariant=True)
Role = Literal["target", "control", "quality"]
Values = dict[str, np.ndarray]
"""Figures by name, float64 (examples, parts) or (examples,); nan where one is not defined."""


class Figure(NamedTuple):
    """A number that a probe gives of each example, or of all of them together."""

    name: str
    """In rows and in the ranking."""
    title: str
    """What it is, for people."""
    higher_is_better: bool = True
    role: Role | None = None
    """The capability that is localized, one beside it, or how well the model does at all."""
    of_set: bool = False
    """Whether it is one number of all examples together, as a distance between sets is."""


@dataclass(frozen=True)
class Setting(Generic[C]):
    """What a probe measures on and with."""

    denoiser: Denoiser
    split: Split
    """Examples to measure and examples to calibrate on."""
    config: C
    """The probe's own section of the recipe."""
    seed: int
    model: str
    """Hash of the model, from `sweep_identity.model_hash`."""
    cache: Path | None = None
    """Folder of calibrated means, shared between runs."""


class Probe(ABC, Generic[C]):
    """One way to measure what a model loses without a component."""

    name: ClassVar[str]
    """`localize.probe`, and the key of its section."""
    config: ClassVar[type[Settings]]
    """The type of its section."""
    figures: ClassVar[tuple[Figure, ...]]
    unit: ClassVar[str]
    """Of its cost: "block evaluations", "pictures"."""
    shares: ClassVar[bool] = False
    """Whether conditions that are measured together share work, such as the baseline's blocks. If
    not, each is measured alone, and one that cannot be measured is left out."""
    parts: Sequence[float] = ()
    """Noise levels at which each figure is measured apart; none where there is one number."""

    def __init__(self, setting: Setting[C]):
        """Nothing is computed yet."""
        self.setting = setting
        self.denoiser = setting.denoiser

    @property
    @abstractmethod
    def ids(self) -> list[str]:
        """Unique names of the examples."""

    @property
    @abstractmethod
    def groups(self) -> list[str]:
        """What each example is resampled with."""

    @property
    @abstractmethod
    def spent(self) -> int:
        """What was spent so far, in the probe's unit."""

    @property
    @abstractmethod
    def batch(self) -> int:
        """Examples that are measured at once."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """All that its rows depend on, JSON-able; rows of another identity are refused."""

    @abstractmethod
    def cost(self, condition: Condition, examples: int) -> int:
        """What a condition takes on that many examples, in the probe's unit."""

    @abstractmethod
    def measure(
        self, conditions: Sequence[Condition], chunk: Sequence[int]
    ) -> dict[Condition, Values]:
        """Figures of some examples under each condition.

        Args:
            conditions: what to measure; one where the probe shares no work between them.
            chunk: places of the examples.

        Raises:
            UserError: the condition cannot be measured.
        """

    def prepare(self, conditions: Sequence[Condition], write: bool) -> None:
        """Make ready for conditions: calibrate means; `write` keeps them on the disk."""

    def shared_cost(self, examples: int) -> int:
        """What a run of conditions on that many examples takes beside their own cost."""
        return 0

    def verify(self) -> Verification:
        """Check that the ablations of the model do what they say, on noise without a picture."""
        return verify(self.denoiser.model, lambda: run_once(self.denoiser, 0.9, self.setting.seed))

    @classmethod
    def of_role(cls, role: Role) -> str | None:
        """The name of its figure of a role, if it has one."""
        return next((figure.name for figure in cls.figures if figure.role == role), None)

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
        self, components: Sequence[Component], wanted: Sequence[int], report: Progress | None = None
    ) -> dict[str, float]:
        """What an adapter could gain on each component, by address, from some examples.

        `report` is told (examples done, examples in all).
        """
        raise NotImplementedError(f"probe {self.name} has no gradient")

    def cost_facts(self) -> dict[str, Any]:
        """What else `cost.json` says."""
        return {}


@torch.no_grad()
def run_once(denoiser: Denoiser, sigma: float, seed: int, rows: int = 2) -> Tensor:
    """The prediction for noise at one noise level, under an empty prompt: for checks."""
    pixels = np.zeros((1, denoiser.config.height, denoiser.config.width, 3), np.uint8)
    shape = denoiser.encode_images(pixels).shape[1:]
    noise = torch.randn((rows, *shape), generator=torch_generator(seed, "check"))
    noise = noise.to(denoiser.device)
    conditioning = denoiser.encode_prompts(["a picture"] * rows)
    return noised_batch(denoiser, noise, noise, sigma, conditioning)


Measure = Callable[[Sequence[Condition], Sequence[int]], dict[Condition, Values]]
"""As `Probe.measure`."""

PROBES: Registry[type[Probe[Any]]] = Registry("probe", __name__.rpartition(".")[0])
