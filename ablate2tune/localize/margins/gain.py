"""Ranking by gradient: how much an adapter on a module could gain, to first order.

For a capability that the model lacks, ablation has nothing to subtract. What can still be asked is
where the target loss would fall fastest. A LoRA step of rank r on a weight with gradient G lowers
the loss, per unit of squared step length, by at most the sum of the r largest squared singular
values of G (Eckart & Young 1936); that energy is divided by the adapter's parameters, so
that modules of different width compare at equal cost.

The energy of a gradient that was averaged over n groups holds the groups' variance / n beside the
energy of the true gradient, and ranks modules by that: the order stays when captions and foils are
exchanged at random. So one half of the groups chooses the step (the first r singular directions of
its gradient), and its slope is measured on the other half, example by example. Without an effect
that is zero on average, whatever the variance.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ablate2tune.localize.margins.caption_losses import Batch
from ablate2tune.localize.measuring.engine import Engine
from ablate2tune.models.calls.attention_kernels import without_cudnn


def weight_gradients(
    engine: Engine, batches: Iterable[Batch], modules: Sequence[str], texts: int
) -> dict[str, Tensor]:
    """Gradient of the mean target margin, negated, in the weight of each Linear.

    The target loss is the loss under the true caption minus the loss under the target foil, so
    what raises every caption's loss alike does not count.

    Args:
        engine: runs the denoiser; its counter counts a backward pass as two more evaluations, one
            for the activations' gradients and one for the weights'.
        batches: as `margin.batches` makes them, the true captions first, then the target foils.
        modules: full names of Linear modules.
        texts: texts of a picture in each batch.

    Returns:
        (out features, in features) per module, float32.
    """
    model = engine.denoiser.model
    weights = {name: model.get_parameter(f"{name}.weight") for name in modules}
    needed = {name: weight.requires_grad for name, weight in weights.items()}
    totals = {
        name: torch.zeros_like(weight, dtype=torch.float32) for name, weight in weights.items()
    }
    images = 0
    try:
        for weight in weights.values():
            weight.requires_grad_(True)
        for batch in batches:
            pictures = len(batch) // texts
            images += pictures
            sign = torch.ones(2 * pictures, device=batch.latents.device)
            sign[pictures:] = -1
            for gradient, name in zip(
                _gradients(engine, batch[: 2 * pictures], sign, list(weights.values())),
                weights,
                strict=True,
            ):
                if gradient is not None:
                    totals[name] += gradient.float()
    finally:
        for name, weight in weights.items():
            weight.requires_grad_(needed[name])
    return {name: total / max(1, images) for name, total in totals.items()}


def _gradients(
    engine: Engine, batch: Batch, sign: Tensor, weights: list[nn.Parameter]
) -> tuple[Tensor | None, ...]:
    engine.means.sigma_index = batch.level
    evaluations = engine.evaluations
    with torch.enable_grad(), without_cudnn(), engine.blocks.running():
        loss = batch.losses(engine.denoiser)
        found = torch.autograd.grad((sign * loss).sum(), weights, allow_unused=True)
    engine.blocks.evaluations += 2 * (engine.evaluations - evaluations)
    return found


class Step(NamedTuple):
    """A step of low rank on a weight, left @ right.T, as long as the gradient that it follows."""

    left: Tensor
    """(out features, rank)."""
    right: Tensor
    """(in features, rank)."""

    @property
    def parameters(self) -> int:
        """Of an adapter of this rank."""
        return self.left.numel() + self.right.numel()


def steepest(gradient: Tensor, rank: int) -> Step:
    """The part of a gradient, (out, in), that an adapter of a rank can follow.

    >>> left, right = steepest(torch.diag(torch.tensor([3.0, 2.0, 1.0])), rank=2)
    >>> left @ right.T
    tensor([[3., 0., 0.],
            [0., 2., 0.],
            [0., 0., 0.]])
    """
    left, values, right = torch.linalg.svd(gradient.float(), full_matrices=False)
    kept = min(rank, len(values))
    return Step(left[:, :kept] * values[:kept], right[:kept].T.contiguous())


def slopes(
    engine: Engine, batch: Batch, steps: Mapping[str, Step], texts: int
) -> dict[str, np.ndarray]:
    """How fast each picture's target margin rises along a step on each Linear, to first order.

    The scalar product of the step and the gradient of that picture alone, from one backward pass
    of the whole batch: the rows of a batch do not meet.

    Args:
        engine: runs the denoiser; its counter counts the backward pass as one more evaluation.
        batch: the true captions first, then the target foils.
        steps: by the full name of a Linear.
        texts: how many each picture has in the batch.

    Returns:
        Float64, (pictures,) per module; zero where the model did not use it.
    """
    pictures = len(batch) // texts
    rows, model = 2 * pictures, engine.denoiser.model
    sign = torch.ones(rows, device=batch.latents.device)
    sign[pictures:] = -1
    seen: list[tuple[str, Tensor, Tensor]] = []

    def watch(name: str) -> Any:
        def hook(_module: nn.Module, args: Any, output: Tensor) -> None:
            seen.append((name, args[0].detach(), output.requires_grad_()))

        return hook

    handles = [model.get_submodule(name).register_forward_hook(watch(name)) for name in steps]
    engine.means.sigma_index = batch.level
    evaluations = engine.evaluations
    try:
        with torch.enable_grad(), without_cudnn(), engine.blocks.running():
            loss = batch[:rows].losses(engine.denoiser)
            outputs = [output for _, _, output in seen]
            gradients = torch.autograd.grad((sign * loss).sum(), outputs, allow_unused=True)
    finally:
        for handle in handles:
            handle.remove()
    engine.blocks.evaluations += engine.evaluations - evaluations
    found = {name: torch.zeros(pictures, dtype=torch.float64) for name in steps}
    for (name, x, _), gradient in zip(seen, gradients, strict=True):
        if gradient is None:
            continue
        left, right = steps[name]
        along = (gradient.float() @ left) * (x.float() @ right)
        per_row = along.reshape(rows, -1).sum(1).double().cpu()
        found[name] += per_row[:pictures] + per_row[pictures:]
    return {name: slope.numpy() for name, slope in found.items()}
