"""Gradient screening: a first-order estimate of every condition from one backward pass.

Attribution patching (Nanda 2023; Kramár et al. 2024, arXiv:2403.00745): ablating a component moves
its output from a to a', so a row's loss changes by (a' - a) . dL/da to first order. The estimate
misses saturated attention and effects that cancel, and a skipped block is a large step, so it
never replaces an exact ablation: it steadies the figures of components that were measured on a
part of the examples (see `estimate`), and its agreement with the exact figures is reported.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ablate2tune.ablation import MODES, Support
from ablate2tune.ablation.edits import Edit
from ablate2tune.ablation.hooks import Call, hooked
from ablate2tune.ablation.sites import sites_of
from ablate2tune.components import discover
from ablate2tune.localize.margins.caption_losses import Batch
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.measuring.engine import Engine
from ablate2tune.models.calls.attention_kernels import without_cudnn
from ablate2tune.models.out_of_memory import within_memory


def can_screen(condition: Condition) -> bool:
    """Whether a first-order estimate exists: one whole component, set to what a hook can tell."""
    single = len(condition.addresses) == 1 and MODES[condition.mode].screened
    return single and not set("@[") & set(condition.addresses[0])


def first_order_losses(
    engine: Engine, batch: Batch, conditions: Sequence[Condition]
) -> dict[Condition, np.ndarray]:
    """Losses of every row as the gradient predicts them: float64, (rows,) per condition.

    The baseline's losses are exact. Out of memory, the rows are halved for this call.

    Args:
        engine: runs the denoiser; its means serve mode "mean", its counter counts a backward
            pass through a block as one more evaluation.
        batch: what to run.
        conditions: the baseline, or conditions for which `can_screen` holds.
    """

    def run(rows: int) -> dict[Condition, np.ndarray]:
        parts = [
            _estimate(engine, batch[start : start + rows], conditions)
            for start in range(0, len(batch), rows)
        ]
        return {c: np.concatenate([part[c] for part in parts]) for c in conditions}

    return within_memory(run, len(batch), "localize")


def _estimate(
    engine: Engine, batch: Batch, conditions: Sequence[Condition]
) -> dict[Condition, np.ndarray]:
    changes = {c: torch.zeros(len(batch), dtype=torch.float64) for c in conditions if c.addresses}
    by_address: dict[str, list[Condition]] = {}
    for condition in changes:
        by_address.setdefault(condition.addresses[0], []).append(condition)

    catalogue = discover(engine.denoiser.model)
    support = Support(engine.means, engine.directions)

    def watch(address: str) -> Any:
        (site,) = sites_of(engine.denoiser.model, catalogue, address)

        def hook(call: Call) -> None:
            for condition in by_address[address]:
                (ablation,) = condition.ablations
                with torch.no_grad():
                    after = Edit(site, ablation, support)(call)
                for new, old in zip(_tensors(after), _tensors(call.value), strict=True):
                    if old.requires_grad:
                        old.register_hook(adder(condition, new.detach(), old.detach()))

        return hook

    def adder(condition: Condition, after: Tensor, before: Tensor) -> Any:
        def add(gradient: Tensor | None) -> None:
            if gradient is None:  # the part of an output that nothing reads
                return
            product = (after - before).double() * gradient.double()
            changes[condition] += product.flatten(1).sum(1).cpu()

        return add

    engine.means.sigma_index = batch.level
    evaluations = engine.evaluations
    # The weights are frozen; a graph from the latents on gives the gradient of every activation.
    tracked = Batch(
        batch.latents.detach().clone().requires_grad_(),
        batch.noise,
        batch.sigma,
        batch.level,
        batch.conditioning,
    )
    with (
        torch.enable_grad(),
        without_cudnn(),
        hooked(engine.denoiser.model, [(address, watch(address)) for address in by_address]),
        engine.blocks.running(),
    ):
        loss = tracked.losses(engine.denoiser)
        loss.sum().backward()
    engine.blocks.evaluations += engine.evaluations - evaluations
    exact = loss.detach().double().cpu().numpy()
    return {c: exact + changes[c].numpy() if c in changes else exact for c in conditions}


def _tensors(output: Any) -> list[Tensor]:
    return [output] if isinstance(output, Tensor) else [x for x in output if isinstance(x, Tensor)]
