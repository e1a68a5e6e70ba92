"""Losses under many conditions, at the smallest cost: prefix reuse and batched conditions.

Both can be switched off; the answers agree up to the rounding of another batch shape.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from ablate2tune.ablation import MODES, Means, Support, ablated_rows, recorded
from ablate2tune.ablation.support.sparse_features import SparseFeatures
from ablate2tune.components import discover
from ablate2tune.components.selections import parse
from ablate2tune.errors import UserError
from ablate2tune.localize.measuring.condition import BASELINE, Condition
from ablate2tune.localize.measuring.replay import Blocks, Trace
from ablate2tune.models import Studied
from ablate2tune.models.out_of_memory import within_memory


class Batch(Protocol):
    """Rows for one forward, and what some modes take rows from."""

    @property
    def level(self) -> int:
        """The noise level that means are of; 0 where there is one."""
        ...

    @property
    def donors(self) -> Any:
        """For mode resample: other examples whose activations the rows get, row by row."""
        ...

    @property
    def row_seeds(self) -> Sequence[int]:
        """For modes that draw: a seed for each row."""
        ...

    @property
    def tokens(self) -> Mapping[str, Tensor]:
        """Text positions by name: bool, (rows, tokens)."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Self: ...

    def repeat(self, copies: int) -> Self:
        """The rows, `copies` times in turn."""
        ...

    def under_other_captions(self) -> Self:
        """For modes that patch: the same examples under their other texts."""
        ...

    def losses(self, studied: Any) -> Tensor:
        """The loss of every row, (rows,), as the model now is."""
        ...


class Engine:
    """Runs a model under conditions and counts what that takes."""

    def __init__(
        self,
        denoiser: Studied,
        batch_size: int,
        prefix_reuse=True,
        batch_conditions=True,
        means: Means | None = None,
    ):
        """Nothing is computed yet.

        Args:
            denoiser: the model.
            batch_size: rows per forward; several conditions share one where they fit.
            prefix_reuse: compute the blocks before an ablated one once per batch.
            batch_conditions: let conditions share a forward.
            means: where means are kept, if they are of another kind.
        """
        self.denoiser = denoiser
        self.means = Means() if means is None else means
        """What modes that need means replace outputs by."""
        self.directions: dict[str, Tensor] = {}
        """What modes that need directions take out, by address."""
        self.features: dict[str, SparseFeatures] = {}
        """Sparse autoencoders by the block whose output they are over."""
        self.blocks = Blocks(denoiser.model)
        self._catalogue = discover(denoiser.model)
        self._rows = batch_size
        self._prefix_reuse, self._batch_conditions = prefix_reuse, batch_conditions
        self.prefix_obstacle: str | None = None
        """Why prefix reuse was given up for whole forwards; None where it was not."""
        self.halvings = 0
        """How often a forward ran out of memory and its batch was halved."""

    @property
    def evaluations(self) -> int:
        """Block evaluations so far (see `Blocks.evaluations`)."""
        return self.blocks.evaluations

    def cost(self, condition: Condition, rows: int) -> int:
        """Block evaluations that one condition takes on that many rows, from the catalogue alone.

        Batched with conditions that start earlier it takes as many more blocks.
        """
        donors = rows * len(self.blocks) if condition.needs("donors") else 0
        if condition.needs("patched"):
            donors = rows  # a run under the other captions serves as many conditions as blocks
        if not (self._prefix_reuse and condition.addresses):
            return rows * len(self.blocks) + donors
        places = {block.address: i for i, block in enumerate(self._catalogue.blocks)}
        return rows * (len(places) - self._start(condition, places)) + donors

    @torch.no_grad()
    def try_prefixes(self, batch: Batch) -> None:
        """Learn on a few rows whether prefixes can be reused, before a cost decides anything."""
        if self._prefix_reuse:
            trace = Trace()
            with self.blocks.running(record=trace):
                self._run(batch)
            self._give_up(trace)

    def _give_up(self, trace: Trace) -> None:
        if trace.obstacle:
            self.prefix_obstacle, self._prefix_reuse = trace.obstacle, False

    @torch.no_grad()
    def losses(self, batch: Batch, conditions: Sequence[Condition]) -> dict[Condition, np.ndarray]:
        """The loss of every row under each condition: float64, (rows,).

        Out of memory on CUDA, the batch is halved, for this and all later forwards.

        Raises:
            UserError: a single row does not fit, or a condition cannot be ablated.
        """

        def run(rows: int) -> dict[Condition, np.ndarray]:
            self.halvings += rows < self._rows
            self._rows = rows
            parts = [
                self._losses(batch[start : start + rows], conditions)
                for start in range(0, len(batch), rows)
            ]
            return {c: np.concatenate([part[c] for part in parts]) for c in conditions}

        return within_memory(run, self._rows, "localize")

    def _losses(self, batch: Batch, conditions: Sequence[Condition]) -> dict[Condition, np.ndarray]:
        found: dict[Condition, np.ndarray] = {}
        ablating = [condition for condition in conditions if condition.addresses]
        trace = Trace() if self._prefix_reuse and ablating else None
        if trace is not None or BASELINE in conditions:
            with self.blocks.running(record=trace):
                found[BASELINE] = self._run(batch)
        if trace is not None and trace.obstacle:
            self._give_up(trace)
            trace = None
        model, catalogue = self.denoiser.model, self._catalogue
        places = {address: i for i, address in enumerate(trace.order)} if trace else {}
        ablating.sort(key=lambda condition: self._start(condition, places))
        for some in self._sharing(ablating):
            patched = self._patched(batch, some)
            for group in self._groups(some, len(batch)):
                start = min(self._start(condition, places) for condition in group)
                support = Support(
                    self.means,
                    self.directions,
                    self.features,
                    donated=self._donated(batch, group),
                    patched=patched,
                    row_seeds=batch.row_seeds,
                    tokens=batch.tokens,
                )
                with (
                    ablated_rows(model, [c.ablations for c in group], support, catalogue),
                    self.blocks.running(replay=trace, start=start, copies=len(group)),
                ):
                    values = self._run(batch.repeat(len(group)))
                found |= zip(group, np.split(values, len(group)), strict=True)
        return {condition: found[condition] for condition in conditions}

    def _sharing(self, conditions: list[Condition]) -> Iterator[list[Condition]]:
        """Conditions that one run under the other captions serves; all where none patches.

        As many as there are blocks, so that what is kept of it is no more than a trace.
        """
        size = len(self.blocks) if any(c.needs("patched") for c in conditions) else len(conditions)
        for first in range(0, len(conditions), max(1, size)):
            yield conditions[first : first + size]

    def _patched(self, batch: Batch, conditions: Sequence[Condition]) -> dict[str, list[Tensor]]:
        """What the batch gives under its other captions at all sites that are patched or traced."""
        found: dict[str, list[Tensor]] = {}
        patching = [c for c in conditions if c.needs("patched")]
        if not patching:
            return found
        wanted: dict[bool, list[str]] = {True: [], False: []}
        for condition in patching:
            wanted[MODES[condition.mode].whole] += condition.addresses
        keep, model = _kept_once(found, "leave it out"), self.denoiser.model
        with (
            recorded(model, wanted[False], keep),
            recorded(model, wanted[True], keep, states=True),
            self.blocks.running(),
        ):
            self._run(batch.under_other_captions())
        return found

    def _donated(self, batch: Batch, conditions: Sequence[Condition]) -> dict[str, list[Tensor]]:
        """Activations of the batch's donors at all sites that are replaced by them."""
        addresses = [a for c in conditions if c.needs("donors") for a in c.addresses]
        if not addresses:
            return {}
        if batch.donors is None:
            raise UserError("its mode needs donors", where=addresses[0])
        found: dict[str, list[Tensor]] = {}
        keep = _kept_once(found, "set localize.mode=zero")
        with recorded(self.denoiser.model, addresses, keep), self.blocks.running():
            self._run(batch.donors)
        return found

    def _run(self, batch: Batch) -> np.ndarray:
        self.means.sigma_index = batch.level
        return batch.losses(self.denoiser).double().cpu().numpy()

    def _start(self, condition: Condition, places: Mapping[str, int]) -> int:
        """How many blocks, by their places in the order of calls, need not be computed.

        A block that is ablated itself is among them: its hook changes what it returns, and before
        that it returns what it does in the baseline. Not so where Linears inside are ablated.
        """
        starts = []
        for ablation in condition.ablations:
            part = self._catalogue[parse(ablation.address).path]
            place = places.get(part.block)
            whole = part.address == part.block and not MODES[ablation.mode].inside
            starts.append(0 if place is None else place + whole)
        return min(starts)

    def _groups(self, conditions: Sequence[Condition], rows: int) -> Iterator[list[Condition]]:
        size = max(1, self._rows // rows) if self._batch_conditions else 1
        group: list[Condition] = []
        for condition in conditions:
            group.append(condition)
            if len(group) == size:
                yield group
                group = []
        if group:
            yield group


def _kept_once(found: dict[str, list[Tensor]], mend: str) -> Callable[[str, list[Tensor]], None]:
    """Keeps a site's tensors in `found`; refuses a second call in one forward."""

    def keep(site: str, tensors: list[Tensor]) -> None:
        if site in found:
            raise UserError(
                "it is called more than once in a forward, so its activation is not one",
                where=site,
                mend=mend,
            )
        found[site] = tensors

    return keep
