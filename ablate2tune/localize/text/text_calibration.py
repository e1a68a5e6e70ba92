"""What modes take from calibration texts, which are never measured: means, donors, directions."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ablate2tune.ablation import collect_means, learn_directions, site_keys
from ablate2tune.ablation.support.means import Means
from ablate2tune.errors import UserError
from ablate2tune.localize.measuring.activation_means import provide_directions
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.measuring.engine import Engine
from ablate2tune.localize.text.token_batch import TokenBatch
from ablate2tune.localize.text.token_means import TokenMeans
from ablate2tune.models import LanguageModel


class TextCalibration:
    """Calibration texts, and what is taken from them when it is first needed."""

    def __init__(
        self,
        model: LanguageModel,
        batches: Callable[[], Sequence[TokenBatch]],
        others: Callable[[], Sequence[TokenBatch]] | None = None,
        directions: Path | None = None,
    ):
        """Nothing is run or read yet.

        Args:
            model: the language model.
            batches: the calibration texts.
            others: the same under their foils; None where there are none, so that a direction
                cannot be learnt.
            directions: file of directions; learnt by default.
        """
        self._model, self._batches, self._others = model, batches, others
        self._directions = directions

    def prepare(self, engine: Engine, conditions: Sequence[Condition]) -> None:
        """Put what conditions need of calibration into the engine.

        Raises:
            UserError: a mode needs what texts cannot give, or there are no calibration texts.
        """
        for condition in conditions:
            if condition.needs("spreads", "patched"):
                raise UserError(
                    "texts do not serve it",
                    where=f"localize.mode = {condition.mode}",
                    mend="use zero, mean, resample or project_out",
                )
        model = self._model.model
        averaged = [a for c in conditions if c.needs("means") for a in c.addresses]
        known = engine.means.sites
        missing = [a for a in dict.fromkeys(averaged) if not known >= set(site_keys(model, a))]
        if missing:
            means = TokenMeans()
            collect_means(model, missing, lambda held: self._run(engine, held), means=means)
            engine.means.update(means)
        provide_directions(engine, conditions, self._directions, self._learn)

    def _run(self, engine: Engine, means: Means | None, batches: Sequence[TokenBatch] = ()) -> None:
        with torch.no_grad(), engine.blocks.running():
            for batch in batches or self._batches():
                if isinstance(means, TokenMeans):
                    means.real = batch.real
                self._model.logits(batch.ids)

    def _learn(self, engine: Engine, addresses: Sequence[str]) -> dict[str, Tensor]:
        if self._others is None:
            raise UserError(
                "there are no foils to learn directions from",
                where="localize.mode = project_out",
                mend="name a file of directions in localize.directions",
            )
        others = self._others()
        return learn_directions(
            self._model.model,
            addresses,
            lambda: self._run(engine, None),
            lambda: self._run(engine, None, others),
            unit=False,
        )
