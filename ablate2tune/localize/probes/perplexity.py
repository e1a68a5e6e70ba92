"""The probe perplexity: how much worse a language model predicts text without a component."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from ablate2tune.contrasts.contrast import Contrast
from ablate2tune.errors import UserError
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.measuring.results import Values
from ablate2tune.localize.probes.figure import Figure
from ablate2tune.localize.probes.perplexity_config import PerplexityConfig
from ablate2tune.localize.probes.probe import PROBES, Needs
from ablate2tune.localize.text.language_probe import LanguageProbe
from ablate2tune.localize.text.sequences import SECTION, sequences, token_rows
from ablate2tune.localize.text.token_batch import TokenBatch
from ablate2tune.models import LanguageModel, Studied


class PerplexityProbe(LanguageProbe[PerplexityConfig]):
    """Mean negative log-likelihood per token of each sequence.

    What a component can take away is what the model has: the nats per token by which it is better
    than a guess among all tokens of the vocabulary. Ablating costs as many nats of the one as it
    adds to the other.
    """

    name = "perplexity"
    config = PerplexityConfig
    figures = (
        Figure("target", "nats per token better than a guess", role="target", ranks=True),
        Figure(
            "nll",
            "negative log-likelihood, nats per token",
            "NLL",
            role="quality",
            higher_is_better=False,
            critical=lambda base, lost: lost["low"] >= base,
            collapse="the loss at least doubles",
        ),
    )
    title = "text predicted without a component"
    reads_own = True

    @classmethod
    def needs(cls, config: PerplexityConfig, judged: bool) -> Needs:
        """Sequences of its own text."""
        if config.text is None:
            raise UserError(
                "there is no text to measure on",
                where=f"{SECTION}.text",
                mend="set it to a file or a folder",
            )
        return Needs(config.sequences, "localize.perplexity.sequences")

    @classmethod
    def own_examples(cls, config: PerplexityConfig, studied: Studied) -> list[Contrast]:
        """All sequences of the text."""
        assert isinstance(studied, LanguageModel), "the stage has refused others"
        assert config.text is not None, "`needs` has refused this"
        return sequences(studied, config.text, config.length)

    @property
    def rows_at_once(self) -> int:
        """Sequences per forward."""
        return self.setting.config.batch_size

    @property
    def batch(self) -> int:
        """Sequences that are measured at once: those of one forward."""
        return self.rows_at_once

    def rows_per_example(self) -> float:
        """One."""
        return 1

    @cached_property
    def _rows(self) -> list[list[int]]:
        return token_rows(self.setting.split.measured)

    @cached_property
    def _calibration(self) -> list[list[int]]:
        return token_rows(self.setting.split.calibration)

    def _batch(self, rows: Sequence[list[int]]) -> TokenBatch:
        start = len(self.lm.beginning)
        return TokenBatch.of(rows, [start] * len(rows))

    def example_rows(self) -> TokenBatch:
        """The first sequences."""
        return self._batch(self._rows[:2])

    def calibration_batches(self) -> list[TokenBatch]:
        """The calibration sequences."""
        rows, size = self._calibration, self.rows_at_once
        return [self._batch(rows[i : i + size]) for i in range(0, len(rows), size)]

    def measure(
        self, conditions: Sequence[Condition], chunk: Sequence[int]
    ) -> dict[Condition, Values]:
        """Losses of some sequences under each condition."""
        batch = self._batch([self._rows[i] for i in chunk])
        if any(condition.needs("donors") for condition in conditions):
            donors = self.donor_places(len(self._calibration))
            theirs = self._batch([self._calibration[donors[i]] for i in chunk])
            batch = replace(batch, donors=theirs)
        guess = math.log(self.lm.vocabulary)
        found = self.engine.losses(batch, conditions)
        return {c: {"target": guess - nll, "nll": nll} for c, nll in found.items()}

    def summary(self) -> dict[str, Any]:
        """The text, in numbers."""
        tokens = sum(map(len, self._rows)) - len(self._rows) * len(self.lm.beginning)
        return {"text": {"sequences": len(self._rows), "tokens_scored": tokens}}


PROBES.add(PerplexityProbe.name, PerplexityProbe)
