"""The base of probes on language models: rows of tokens, the engine, calibration."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, TypeVar

from torch import Tensor

from ablate2tune.errors import UserError
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.measuring.engine import Engine
from ablate2tune.localize.probes.engine_probe import EngineProbe
from ablate2tune.localize.probes.probe import Setting
from ablate2tune.localize.text.text_calibration import TextCalibration
from ablate2tune.localize.text.token_batch import TokenBatch
from ablate2tune.localize.text.token_means import TokenMeans
from ablate2tune.models import LanguageModel
from ablate2tune.seeding import numpy_generator
from ablate2tune.settings import Settings

C = TypeVar("C", bound=Settings, covariant=True)
VERIFIED_TOKENS = 32
"""Tokens of the rows on which the ablations are verified."""


class LanguageProbe(EngineProbe[C]):
    """One way to measure what a language model loses without a component."""

    takes = frozenset(("heads", "projections", "joint", "features"))
    language = True

    def __init__(self, setting: Setting[C]):
        """Nothing is computed yet."""
        super().__init__(setting)
        self.lm: LanguageModel = setting.language_model
        self.engine = Engine(self.lm, self.rows_at_once, means=TokenMeans())
        self.calibration = TextCalibration(
            self.lm, self.calibration_batches, self.foil_batches(), setting.directions
        )

    @property
    @abstractmethod
    def rows_at_once(self) -> int:
        """Rows of tokens to a forward."""

    @abstractmethod
    def calibration_batches(self) -> list[TokenBatch]:
        """The calibration examples, as they are run for means."""

    def foil_batches(self) -> Any:
        """Gives the same under their foils, for directions; None where there are none."""
        return None

    @abstractmethod
    def rows_per_example(self) -> float:
        """Rows that one example is measured with, on average."""

    def cost(self, condition: Condition, examples: int) -> int:
        """Block evaluations of a condition on that many examples."""
        return self.engine.cost(condition, round(examples * self.rows_per_example()))

    def identity(self) -> dict[str, Any]:
        """All that its rows depend on."""
        return {**super().identity(), "guidance_scale": None}

    def prepare(self, conditions: Sequence[Condition], write: bool) -> None:
        """Provide what the conditions need of calibration."""
        self.calibration.prepare(self.engine, conditions)

    def donor_places(self, count: int) -> list[int]:
        """For each measured example, the place of its donor among `count` calibration examples."""
        if not count:
            raise UserError(
                "the calibration set is empty",
                where="localize.calibration_groups",
                mend="raise it, or set localize.mode=zero, which needs none",
            )
        order = numpy_generator(self.setting.seed, "resample-donors").permutation(count)
        return [int(order[i % count]) for i in range(len(self.ids))]

    @abstractmethod
    def example_rows(self) -> TokenBatch:
        """A few measured rows."""

    def few_rows(self) -> TokenBatch:
        """Two of them."""
        return self.example_rows()[:2]

    def predicted(self, few: TokenBatch) -> Tensor:
        """The logits of their first tokens."""
        return self.lm.logits(few.ids[:, :VERIFIED_TOKENS])
