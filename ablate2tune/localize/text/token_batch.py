"""Rows of token numbers for one forward of a language model, and the loss of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ablate2tune.errors import UserError
from ablate2tune.models import LanguageModel


@dataclass(frozen=True)
class TokenBatch:
    """Rows of equally many tokens, padded on the right."""

    ids: Tensor
    """(rows, tokens)."""
    real: Tensor
    """Which are no padding: bool, (rows, tokens)."""
    scored: Tensor
    """Which tokens' losses count: bool, (rows, tokens); never the first."""
    answers: Tensor | None = None
    """Tokens of which each is scored as the one after a row's last: (rows, answers), -1 where a row
    has fewer. Then `scored` does not count."""
    summed: bool = False
    """Whether a row's loss is the sum over its scored tokens; else their mean."""
    donors: "TokenBatch | None" = None
    """For mode resample: other examples whose activations the rows get, row by row."""
    row_seeds: Sequence[int] = ()
    tokens: Mapping[str, Tensor] = field(default_factory=dict)
    """Positions by name, for addresses with @tokens=NAME: bool, (rows, tokens)."""
    level: int = 0

    @classmethod
    def of(
        cls, rows: Sequence[Sequence[int]], scored_from: Sequence[int], summed: bool = False
    ) -> "TokenBatch":
        """Rows of token numbers, of which those from a place on are scored."""
        width = max(map(len, rows))
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        real = torch.zeros(len(rows), width, dtype=torch.bool)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = torch.tensor(row)
            real[place, : len(row)] = True
        after = torch.arange(width)[None] >= torch.tensor(scored_from)[:, None].clamp(min=1)
        return cls(ids, real, real & after, summed=summed)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: slice) -> "TokenBatch":
        return replace(
            self,
            ids=self.ids[rows],
            real=self.real[rows],
            scored=self.scored[rows],
            answers=None if self.answers is None else self.answers[rows],
            donors=None if self.donors is None else self.donors[rows],
            row_seeds=self.row_seeds[rows],
            tokens={name: mask[rows] for name, mask in self.tokens.items()},
        )

    def repeat(self, copies: int) -> "TokenBatch":
        """The rows, `copies` times in turn; what the modes take rows from stays one copy."""
        ids, real, scored = (x.repeat(copies, 1) for x in (self.ids, self.real, self.scored))
        answers = None if self.answers is None else self.answers.repeat(copies, 1)
        return replace(self, ids=ids, real=real, scored=scored, answers=answers)

    def under_other_captions(self) -> "TokenBatch":
        """Rows of text have no other captions.

        Raises:
            UserError: always.
        """
        raise UserError(
            "texts have no other caption to patch from",
            where="localize.mode",
            mend="use zero, mean or resample",
        )

    def losses(self, studied: LanguageModel) -> Tensor:
        """Negative log-likelihood of every row's scored tokens, in nats: float32, (rows,).

        With `answers`, that of each: (rows, answers); nan where a row has fewer.
        """
        logits = studied.logits(self.ids)
        if self.answers is not None:
            last = self.real.sum(1).sub(1).to(logits.device)
            logs = logits[torch.arange(len(last)), last].float().log_softmax(-1)
            places = self.answers.to(logs.device)
            found = -logs.gather(1, places.clamp(min=0))
            return found.masked_fill(places < 0, torch.nan)
        found = []
        for row, ids, scored in zip(logits, self.ids, self.scored, strict=True):
            places = scored.nonzero().flatten()
            targets = ids[places].to(row.device)
            before = row[(places - 1).to(row.device)].float()
            each = F.cross_entropy(before, targets, reduction="none")
            found.append(each.sum() if self.summed else each.mean())
        return torch.stack(found)
