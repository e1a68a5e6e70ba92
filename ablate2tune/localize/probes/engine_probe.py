"""The base of probes whose figures are losses of forwards: the engine, its checks and its costs."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from ablate2tune.ablation import Verification, verify
from ablate2tune.errors import UserError
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.measuring.engine import Engine
from ablate2tune.localize.probes.probe import Probe
from ablate2tune.settings import Settings

C = TypeVar("C", bound=Settings, covariant=True)


class EngineProbe(Probe[C]):
    """Conditions of one batch share the blocks before the first that they ablate."""

    unit = "block evaluations"
    shares = True
    samples = False
    engine: Engine

    @property
    def reuses(self) -> bool:
        """Whether the recipe lets blocks be shared."""
        return True

    @property
    def spent(self) -> int:
        """Block evaluations so far: one per block and row that really ran."""
        return self.engine.evaluations

    @abstractmethod
    def few_rows(self) -> Any:
        """A batch of a few measured rows."""

    @abstractmethod
    def predicted(self, few: Any) -> Tensor:
        """What the model gives for such rows, or for a part of each."""

    @torch.no_grad()
    def verify(self) -> Verification:
        """Check the ablations on a few measured rows."""
        few = self.few_rows()
        self.engine.try_prefixes(few)
        with self.engine.blocks.running():
            return verify(self.setting.studied.model, lambda: self.predicted(few))

    def impossible(self, conditions: Sequence[Condition]) -> dict[str, str]:
        """Of conditions with one address each, those that cannot be measured, with the reason."""
        few, found = self.few_rows(), {}
        for condition in conditions:
            try:
                self.engine.losses(few, [condition])
            except UserError as error:
                found[condition.addresses[0]] = str(error)
        return found

    def cost_facts(self) -> dict[str, Any]:
        """Halvings and whether prefixes were reused."""
        obstacle = self.engine.prefix_obstacle
        return {
            "halvings": self.engine.halvings,
            "prefix_reuse": self.reuses and obstacle is None,
            "prefix_reuse_obstacle": obstacle,
        }
