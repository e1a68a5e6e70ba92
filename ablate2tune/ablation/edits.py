"""One ablation at one site: what a module's value becomes, in one run of the batch's rows."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ablate2tune.ablation.hooks import Call
from ablate2tune.ablation.mode import MODES, Activation
from ablate2tune.ablation.regions import item_streams, items, skipped_items
from ablate2tune.ablation.sites import Site
from ablate2tune.ablation.streams import bound_arguments, stream_lengths
from ablate2tune.ablation.support.support import Support
from ablate2tune.components.experts import WEIGHTS
from ablate2tune.components.heads import Stream
from ablate2tune.errors import UserError


@dataclass(frozen=True)
class Ablation:
    """One component, or a part of it, and what becomes of it."""

    address: str
    """Dotted module path of a component, with a slice, stream or tokens if only a part is meant."""
    mode: str
    """Name of a mode, of those in `modes/` or of an extension."""


@dataclass
class Edit:
    """A hook that replaces the region of one site by one ablation."""

    site: Site
    ablation: Ablation
    support: Support
    place: int = 0
    """Which of the runs of rows is replaced."""
    runs: int = 1
    """How many runs the batch consists of."""
    lengths: tuple[int, int] | None = None
    """Text and image tokens in the last call of the site's block, where the site needs them."""
    fired: int = 0
    """How often it replaced something."""

    def __call__(self, call: Call) -> Any:
        """What the site holds instead of the call's value; None if its region is not there.

        Raises:
            UserError: the value does not fit what was selected or calibrated.
        """
        site, before = self.site, items(self.site, call)
        base = skipped_items(call) if site.is_block else [None] * len(before)
        streams = item_streams(site, call, len(before))
        after: list[Any] = list(before)
        acted = False
        for index, (old, start, stream) in enumerate(zip(before, base, streams, strict=True)):
            other = site.stream is not None and stream not in (None, site.stream)
            if not isinstance(old, Tensor) or other or (site.is_block and start is None):
                continue
            # Recorded activations have no place for a stream that ends here.
            known = sum(isinstance(item, Tensor) for item in before[:index])
            x = old.transpose(0, site.batch_axis)
            rows = self._rows(len(x))
            start = None if start is None else start.transpose(0, site.batch_axis)[rows]
            new = self._replaced(x[rows], start, known, call, rows)
            if site.experts is not None:
                new = self._of_experts(x[rows], new, call, rows)
            new = self._in_region(x[rows], new, stream)
            if new is None:
                continue
            acted = True
            if self.runs > 1:
                new, part = x.clone(), new
                new[rows] = part
            after[index] = new.transpose(0, site.batch_axis)
        if not acted:
            return None
        self.fired += 1
        if isinstance(call.value, Tensor):
            return after[0]
        return (*after, *call.value[len(after) :])

    def note_lengths(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        """A hook before the site's block: how many text and image tokens it is called with."""
        self.lengths = stream_lengths(module, args, kwargs)

    def _replaced(
        self, x: Tensor, start: Tensor | None, index: int, call: Call, rows: slice
    ) -> Tensor:
        address, support, mode = self.ablation.address, self.support, MODES[self.ablation.mode]
        added = None if mode.whole else start  # to what the mode makes of a block's contribution
        part = x if added is None else x - added
        new = mode.replace(Activation(part, start, index, self.site, address, support, call, rows))
        return new if added is None else added + new

    def _rows(self, count: int) -> slice:
        if count % self.runs:
            raise UserError(
                f"{count} rows cannot be split over {self.runs} conditions",
                where=self.ablation.address,
                mend="run one copy of the batch per condition",
            )
        each = count // self.runs
        return slice(self.place * each, (self.place + 1) * each)

    def _of_experts(self, old: Tensor, new: Tensor, call: Call, rows: slice) -> Tensor:
        """`new` where the weights are those of the site's experts, `old` elsewhere."""
        whose = bound_arguments(call.module, call.args, call.kwargs)[WEIGHTS[self.site.side]][rows]
        chosen = torch.tensor(self.site.experts, device=whose.device)
        return torch.where(torch.isin(whose, chosen), new, old)

    def _in_region(self, old: Tensor, new: Tensor, stream: Stream | None) -> Tensor | None:
        """`new` inside the site's columns and tokens, `old` outside; None if they are not here.

        Both are (batch, tokens, channels), or without tokens where the site takes all of them;
        `stream` is the one whose tokens they hold, if it is one.
        """
        site = self.site
        if site.columns is not None:
            mask = torch.zeros(old.shape[-1], dtype=torch.bool, device=old.device)
            mask[list(site.columns)] = True
            new = torch.where(mask, new, old)
        if site.stream is None or (stream is not None and site.tokens is None):
            return new
        first, count = 0, old.shape[1]
        if stream is None:
            span = self._span(count)
            if span is None:
                return None
            first, count = span
        mask = torch.zeros(len(old), old.shape[1], dtype=torch.bool, device=old.device)
        mask[:, first : first + count] = self._positions(len(old), count)
        return torch.where(mask[(...,) + (None,) * (old.ndim - 2)], new, old)

    def _span(self, count: int) -> tuple[int, int] | None:
        """First token and number of tokens of the site's stream in a tensor of `count` tokens.

        The tensor joins both streams, or holds one of them: some blocks call one module for each
        stream in turn. None if it holds the other one.
        """
        if self.lengths is None:
            raise UserError(
                "its block was called with both streams in one tensor",
                where=self.ablation.address,
                mend="ablate all its tokens",
            )
        text, image = self.lengths
        wants_text, text_first = self.site.stream == "text", self.site.text_first
        if count == text + image:
            return (0 if text_first else image, text) if wants_text else (text * text_first, image)
        if text != image and count in self.lengths:
            return (0, count) if (count == text) == wants_text else None
        raise UserError(
            f"of {text} text and {image} image tokens, its {count} cannot be told apart",
            where=self.ablation.address,
        )

    def _positions(self, rows: int, count: int) -> Tensor:
        """Which of a stream's tokens are meant, bool, (rows, tokens)."""
        address, tokens = self.ablation.address, self.site.tokens
        if tokens is None:
            return torch.ones(rows, count, dtype=torch.bool)
        if isinstance(tokens, tuple):
            if tokens[-1] >= count:
                raise UserError(f"token {tokens[-1]} of {count} is out of range", where=address)
            mask = torch.zeros(rows, count, dtype=torch.bool)
            mask[:, list(tokens)] = True
            return mask
        mask = self.support.tokens.get(tokens)
        if mask is None:
            raise UserError(
                f"nobody said where the tokens {tokens!r} are",
                where=address,
                mend="pass Support(tokens={name: mask})",
            )
        if mask.shape != (rows, count):
            raise UserError(
                f"the token mask is {tuple(mask.shape)}, the text {(rows, count)}", where=address
            )
        return mask.bool()
