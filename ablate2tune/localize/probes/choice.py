"""The probe choice: how much a language model prefers the right answer, without a component.

Task-specific ablation: the margin of log-probabilities between the right answer and the best of the
wrong ones. Of answers of one token each it is the logit difference (Wang et al. 2022,
arXiv:2211.00593).
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ablate2tune.contrasts.contrast import Contrast
from ablate2tune.contrasts.makers.choices import Choice
from ablate2tune.errors import UserError
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.measuring.results import Values
from ablate2tune.localize.probes.choice_config import ChoiceConfig
from ablate2tune.localize.probes.figure import Figure
from ablate2tune.localize.probes.probe import PROBES, Needs, Setting
from ablate2tune.localize.text.language_probe import LanguageProbe
from ablate2tune.localize.text.token_batch import TokenBatch
from ablate2tune.models import LanguageModel


class Question(NamedTuple):
    """One prompt with its answers as tokens."""

    rows: list[list[int]]
    """The prompt with each answer behind it: the right one, then foils, then controls."""
    start: int
    """The first token in which any two of them differ, or the first behind the prompt."""
    foils: int
    """How many rows are foils."""
    phrases: dict[str, list[int]]
    """Places of the tokens of the prompt's named phrases."""


class ChoiceProbe(LanguageProbe[ChoiceConfig]):
    """Log-probability of the answer minus that of the best foil, summed over their tokens."""

    name = "choice"
    config = ChoiceConfig
    figures = (
        Figure("target", "log-probability of the answer over the best foil", "margin",
               role="target", ranks=True),
        Figure("control", "log-probability of the answer over the best control", "control",
               role="control"),
        Figure("right", "prompts answered right", "right", rate=True),
        Figure("quality", "log-probability of the answer", "log p", role="quality"),
    )  # fmt: skip
    title = "answers chosen without a component"
    takes = frozenset((*LanguageProbe.takes, "tokens"))

    def __init__(self, setting: Setting[ChoiceConfig]):
        """Put prompts and answers into tokens.

        Raises:
            UserError: an answer is no answer behind a prompt, or the same to the tokenizer as
                another.
        """
        examples = [*setting.split.measured, *setting.split.calibration]
        if any("control" not in example.texts for example in examples):
            self.figures = tuple(f for f in type(self).figures if f.role != "control")
        super().__init__(setting)

    @classmethod
    def needs(cls, config: ChoiceConfig, judged: bool) -> Needs:
        """Groups of prompts."""
        return Needs(config.groups, "localize.choice.groups")

    @property
    def rows_at_once(self) -> int:
        """Answers per forward."""
        return self.setting.config.batch_size

    @property
    def batch(self) -> int:
        """Prompts whose answers fit in one forward."""
        if self._single:
            return self.rows_at_once
        most = max((len(question.rows) for question in self._measured), default=1)
        return max(1, self.rows_at_once // most)

    def rows_per_example(self) -> float:
        """Answers of a prompt; one where one row serves all of them."""
        if self._single:
            return 1
        return sum(len(q.rows) for q in self._measured) / max(1, len(self._measured))

    @cached_property
    def _measured(self) -> list[Question]:
        return [question(self.lm, example) for example in self.setting.split.measured]

    @cached_property
    def _calibration(self) -> list[Question]:
        return [question(self.lm, example) for example in self.setting.split.calibration]

    def example_rows(self) -> TokenBatch:
        """The answers to the first prompt."""
        return _batch(self._measured[:1])

    def calibration_batches(self) -> list[TokenBatch]:
        """The calibration prompts with their right answers."""
        return self._whole(0)

    def foil_batches(self) -> Callable[[], list[TokenBatch]]:
        """Gives the same with their first foils."""
        return lambda: self._whole(1)

    def _whole(self, row: int) -> list[TokenBatch]:
        """One text of each calibration prompt; those of one length together, so without padding."""
        size, found = self.rows_at_once, list[TokenBatch]()
        rows = sorted((q.rows[row] for q in self._calibration), key=len)
        for _, same in itertools.groupby(rows, key=len):
            held = list(same)
            parts = (held[start : start + size] for start in range(0, len(held), size))
            found += [TokenBatch.of(part, [1] * len(part)) for part in parts]
        return found

    def measure(
        self, conditions: Sequence[Condition], chunk: Sequence[int]
    ) -> dict[Condition, Values]:
        """Margins of some prompts under each condition."""
        questions = [self._measured[i] for i in chunk]
        make = _joined if self._single else _batch
        donors: Sequence[list[int]] = ()
        if any(condition.needs("donors") for condition in conditions):
            donors = self._donors(chunk)
        found = self.engine.losses(make(questions, donors), conditions)
        return {c: self._figures_of(questions, -loss) for c, loss in found.items()}

    @cached_property
    def _single(self) -> bool:
        """Whether all answers are of one token, so that one row serves all of a prompt's."""
        return all(len(row) == q.start + 1 for q in self._measured for row in q.rows)

    def _figures_of(self, questions: Sequence[Question], logs: np.ndarray) -> Values:
        found: Values = {figure.name: np.full(len(questions), np.nan) for figure in self.figures}
        parts: Sequence[np.ndarray] = list(logs)
        if logs.ndim == 1:
            parts = np.split(logs, np.cumsum([len(q.rows) for q in questions])[:-1])
        for place, (q, row) in enumerate(zip(questions, parts, strict=True)):
            own = row[: len(q.rows)]
            foils, controls = own[1 : 1 + q.foils], own[1 + q.foils :]
            found["target"][place] = own[0] - foils.max()
            found["right"][place] = float(own[0] > own[1:].max())
            found["quality"][place] = own[0]
            if "control" in found:
                found["control"][place] = own[0] - controls.max()
        return found

    def _donors(self, chunk: Sequence[int]) -> list[list[int]]:
        """For every row, another prompt with its right answer, of as many tokens before answers.

        Raises:
            UserError: no calibration prompt is as long.
        """
        places = self.donor_places(len(self._calibration))
        found: list[list[int]] = []
        for i in chunk:
            own = self._measured[i]
            order = [*self._calibration[places[i] :], *self._calibration[: places[i]]]
            donor = next((q for q in order if q.start == own.start), None)
            if donor is None:
                raise UserError(
                    f"no calibration prompt has {own.start} tokens before its answers, as example "
                    f"{self.ids[i]}",
                    where="localize.mode = resample",
                    mend="use prompts of equal length, or mode zero or mean",
                )
            found += [donor.rows[0]] * (1 if self._single else len(own.rows))
        return found


def question(model: LanguageModel, example: Contrast) -> Question:
    """An example's prompt and answers as tokens, answers scored from where they first differ.

    Raises:
        UserError: the example holds no choice, an answer adds no token to the prompt, or two
            answers are the same to the tokenizer.
    """
    choice = example.payload
    if not isinstance(choice, Choice):
        raise UserError(
            "holds no prompt with answers",
            where=f"example {example.id}",
            mend="probe choice reads a choices.jsonl (docs/language-models.md)",
        )
    answers = [choice.answer, *choice.foils, *choice.controls]
    prompt = model.encode(choice.prompt)
    rows = [model.encode(choice.prompt + answer) for answer in answers]
    start = min(_shared(prompt, row) for row in rows)
    if start < 1 or any(len(row) <= start for row in rows):
        raise UserError(
            f"an answer adds no token to the prompt {choice.prompt!r}",
            where=f"example {example.id}",
            mend="write answers as they follow the prompt, a space in front",
        )
    if len({tuple(row) for row in rows}) < len(rows):
        raise UserError(
            "two of its answers are the same to the tokenizer", where=f"example {example.id}"
        )
    phrases = {
        name: model.tokens_at(choice.prompt, *span)
        for name, span in example.spans.get("true", {}).items()
    }
    return Question(rows, start, len(choice.foils), phrases)


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two rows begin with in common."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def _batch(questions: Sequence[Question], donors: Sequence[list[int]] = ()) -> TokenBatch:
    """All answers of some prompts; donors are padded or cut to their length."""
    rows = [row for q in questions for row in q.rows]
    starts = [q.start for q in questions for _ in q.rows]
    own = TokenBatch.of(rows, starts, summed=True)
    own = replace(own, tokens=_masks([q for q in questions for _ in q.rows], own.ids.shape[1]))
    if not donors:
        return own
    width = own.ids.shape[1]
    theirs = TokenBatch.of([(row + [0] * width)[:width] for row in donors], starts)
    return replace(own, donors=theirs)


def _joined(questions: Sequence[Question], donors: Sequence[list[int]] = ()) -> TokenBatch:
    """Each prompt once, with the answers of one token that are scored behind it."""
    prompts = [q.rows[0][: q.start] for q in questions]
    own = TokenBatch.of(prompts, [1] * len(prompts))
    most = max(len(q.rows) for q in questions)
    ends = [[row[-1] for row in q.rows] for q in questions]
    answers = torch.tensor([row + [-1] * (most - len(row)) for row in ends])
    width = own.ids.shape[1]
    own = replace(own, answers=answers, tokens=_masks(questions, width))
    if not donors:
        return own
    rows = [(row + [0] * width)[:width] for row in donors]
    return replace(own, donors=TokenBatch.of(rows, [1] * len(rows)))


def _masks(questions: Sequence[Question], width: int) -> dict[str, Tensor]:
    """Which tokens hold each phrase that all prompts have: bool, (rows, width)."""
    names = set.intersection(*(set(q.phrases) for q in questions))
    masks = {name: torch.zeros(len(questions), width, dtype=torch.bool) for name in sorted(names)}
    for name, mask in masks.items():
        for place, q in enumerate(questions):
            mask[place, q.phrases[name]] = True
    return masks


PROBES.add(ChoiceProbe.name, ChoiceProbe)
