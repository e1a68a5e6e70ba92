"""Ranking by gradient: how much an adapter on a module could gain, to first order.

For a capability that the model lacks, ablation has nothing to subtract. What can still be asked is
where the target loss would fall fastest. A LoRA step of rank r on a weight with gradient G lowers
the loss, per unit of squared step length, by at most the sum of the r largest squared singular
values of G (Eckart & Young 1936); that energy is divided by the adapter's parameters, so
that modules of different width compare at equal cost.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from ablate2tune.localize.margins.margin import TEXTS, Batch, batch_loss
from ablate2tune.localize.measuring.engine import Engine


def weight_gradients(
    engine: Engine, batches: Iterable[Batch], modules: Sequence[str], texts: int = TEXTS
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
    with torch.enable_grad(), engine.blocks.running():
        loss = batch_loss(engine.denoiser, batch)
        found = torch.autograd.grad((sign * loss).sum(), weights, allow_unused=True)
    engine.blocks.evaluations += 2 * (engine.evaluations - evaluations)
    return found


def adapter_gain(gradients: Sequence[Tensor], rank: int) -> float:
    """First-order gain of adapters on some weights, per adapter parameter.

    >>> adapter_gain([torch.diag(torch.tensor([3.0, 2.0, 1.0]))], rank=2)  # (9 + 4) / (2 * 6)
    1.0833...

    Args:
        gradients: (out, in) each; none gives 0.
        rank: of the adapters.
    """
    energy, parameters = 0.0, 0
    for gradient in gradients:
        kept = min(rank, *gradient.shape)
        energy += float(torch.linalg.svdvals(gradient.float())[:kept].square().sum())
        parameters += kept * sum(gradient.shape)
    return energy / parameters if parameters else 0.0
