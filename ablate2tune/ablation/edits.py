"""One ablation at one site: what a module's value becomes, in one run of the batch's rows."""

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from ablate2tune.ablation.hooks import Call
from ablate2tune.ablation.mode import MODES, Activation
from ablate2tune.ablation.regions import in_region, item_streams, items, skipped_items
from ablate2tune.ablation.sites import Site
from ablate2tune.ablation.support import Support
from ablate2tune.errors import UserError


@dataclass(frozen=True)
class Ablation:
    """One component, or a part of it, and what becomes of it."""

    address: str
    """Dotted module path of a component, with a slice, stream or tokens if only a part is meant."""
    mode: str
    """Name of a mode, of those in `modes/` or of an extension."""


class Edit:
    """A hook that replaces the region of one site by one ablation."""

    def __init__(
        self, site: Site, ablation: Ablation, support: Support, place: int = 0, runs: int = 1
    ):
        """Take what the edit needs.

        Args:
            site: which part of the value.
            ablation: what becomes of it.
            support: what the mode and the address need.
            place: which of the runs of rows is replaced.
            runs: how many runs the batch consists of.
        """
        self.site, self.ablation, self.support = site, ablation, support
        self.place, self.runs = place, runs
        self.lengths: tuple[int, int] | None = None
        """Text and image tokens in the last call of the block, where the site needs them."""
        self._mode = MODES[ablation.mode]

    def __call__(self, module: nn.Module, args: tuple, kwargs: dict[str, Any], value: Any) -> Any:
        """What the site holds instead of `value`; None if its region is not in this call.

        Raises:
            UserError: the value does not fit what was selected or calibrated.
        """
        call, site = Call(module, args, kwargs, value), self.site
        address, tokens = self.ablation.address, self.support.tokens
        before = items(site, call)
        base = skipped_items(site, call) if site.is_block else [None] * len(before)
        streams = item_streams(site, call, len(before))
        after: list[Any] = list(before)
        acted = False
        for index, (old, start) in enumerate(zip(before, base, strict=True)):
            other = site.stream is not None and streams[index] not in (None, site.stream)
            if not isinstance(old, Tensor) or other or (site.is_block and start is None):
                continue
            # Recorded activations have no place for a stream that ends here.
            known = sum(isinstance(item, Tensor) for item in before[:index])
            x = old.transpose(0, site.batch_axis)
            rows = self._rows(len(x))
            start = None if start is None else start.transpose(0, site.batch_axis)[rows]
            new = self._replaced(x[rows], start, known, call, rows)
            new = in_region(x[rows], new, streams[index], site, address, tokens, self.lengths)
            if new is None:
                continue
            acted = True
            if self.runs > 1:
                new, part = x.clone(), new
                new[rows] = part
            after[index] = new.transpose(0, site.batch_axis)
        if not acted:
            return None
        if isinstance(value, Tensor):
            return after[0]
        return (*after, *value[len(after) :])

    def _replaced(
        self, x: Tensor, start: Tensor | None, index: int, call: Call, rows: slice
    ) -> Tensor:
        address, support = self.ablation.address, self.support
        old = Activation(x, start, index, self.site, address, support, call, rows)
        if start is None or self._mode.whole:
            return self._mode.replace(old)
        return start + self._mode.replace(replace(old, x=x - start))

    def _rows(self, count: int) -> slice:
        if count % self.runs:
            raise UserError(
                f"{count} rows cannot be split over {self.runs} conditions",
                where=self.ablation.address,
                mend="run one copy of the batch per condition",
            )
        each = count // self.runs
        return slice(self.place * each, (self.place + 1) * each)
