"""A check of the ablations on one real batch, before a sweep relies on them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ablate2tune.ablation.edits import Ablation
from ablate2tune.ablation.interventions import ablated
from ablate2tune.components import discover
from ablate2tune.errors import UserError


@dataclass(frozen=True)
class Verification:
    """Which components ablate as they should."""

    passed: tuple[str, ...]
    """Addresses of blocks and sub-layers that passed."""
    failed: dict[str, str]
    """Addresses of blocks and sub-layers that did not, each with the reason."""


@torch.no_grad()
def verify(model: nn.Module, run: Callable[[], Tensor]) -> Verification:
    """Check, for every block, that skipping it equals zeroing all its sub-layers bit for bit.

    The equality fails where a sub-layer adds the residual itself, so that zeroing it would erase
    the stream, and where the skip would mix up streams. A failing block takes its sub-layers with
    it: what their zeros mean is then unknown. `run` gives the model's output for one real batch.

    Raises:
        UserError: two runs without any ablation differ, or a block leaves its mark after removal.
    """
    catalogue = discover(model)
    baseline = run()
    if not torch.equal(run(), baseline):
        raise UserError(
            "two identical runs of the model differ, so no ablation can be told from noise",
            where=type(model).__name__,
            mend="turn off dropout and nondeterministic kernels",
        )
    passed: list[str] = []
    failed: dict[str, str] = {}
    for block in catalogue.blocks:
        parts = [block.address, *(child.address for child in catalogue.children(block))]
        reason = _fault(model, run, parts[0], parts[1:])
        if reason:
            failed |= dict.fromkeys(parts, reason)
        else:
            passed += parts
    if not torch.equal(run(), baseline):
        raise UserError(
            "the output after all ablations were removed is not the output before",
            where=type(model).__name__,
        )
    return Verification(tuple(passed), failed)


def _fault(
    model: nn.Module, run: Callable[[], Tensor], block: str, sublayers: list[str]
) -> str | None:
    if not sublayers:
        return "it has no sub-layer that is known to write to the residual stream"
    try:
        with ablated(model, [Ablation(block, "skip")]):
            skipped = run()
        with ablated(model, [Ablation(address, "zero") for address in sublayers]):
            zeroed = run()
    except UserError as error:
        return str(error)
    if not torch.equal(skipped, zeroed):
        return "skipping the block is not the same as zeroing all its sub-layers"
    return None
