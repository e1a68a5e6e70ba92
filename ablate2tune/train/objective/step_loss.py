"""The loss of a step: the family's own, the contrast of twin captions, and retention.

Per picture, summed over the step and divided by the number of its pictures:

- the squared error under its caption, over what of it counts (`loss_masks`), against the family's
  own target; or, where the picture is one to be retained, `retention` times that against the base's
  own prediction; weighed by min-SNR where the family predicts epsilon or v;
- where it has a foil: `contrast` times softplus(s * (loss - loss under the foil)) / s.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ablate2tune.models import Conditioning, Denoiser
from ablate2tune.models.out_of_memory import within_memory
from ablate2tune.process.launched import divided_among
from ablate2tune.train.example_cache import ExampleCache
from ablate2tune.train.objective.twins import noise_of_twins, same_inputs
from ablate2tune.train.row_dropout import dropping
from ablate2tune.train.size_buckets import at_size
from ablate2tune.train.step_plan import Batch
from ablate2tune.train.train_config import TrainConfig

MEND = (
    "set train.checkpointing=on, model.dtype=bfloat16 or model.quantize=int8, use a smaller image "
    "size, adapt later blocks, or use a larger device"
)


def contrast_term(true: Tensor, foil: Tensor, sharpness: float) -> Tensor:
    """softplus(s * (true - foil)) / s of each pair of losses, (pairs,).

    It falls with slope 1 while the true caption's loss lies far above the foil's, and not any more
    once it lies some 1/s below: a pair that is told apart is let be. The logistic preference loss
    of Diffusion-DPO (Wallace et al. 2023, arXiv:2311.12908), on two captions of one picture
    instead of two pictures of one caption, without the reference model's losses.

    >>> contrast_term(torch.tensor([0.5, 0.5]), torch.tensor([0.5, 9.5]), 2.0)
    tensor([0.3466, 0.0000])
    """
    return F.softplus(sharpness * (true - foil)) / sharpness


def step_loss(denoiser: Denoiser, cache: ExampleCache, batch: Batch, config: TrainConfig) -> Tensor:
    """The sum over a batch's pictures, of one size, of what each adds to the step's loss, a scalar.

    Both captions of a picture share a forward pass, its noise and its noise level. Rows with the
    same input (`twins`) are computed once.
    """
    paired = paired_in(batch)
    foils = [foil for foil in batch.foils if foil is not None]
    kept = torch.tensor(batch.kept)
    rows = [*range(len(batch.examples)), *paired], [*batch.captions, *foils]
    same = same_inputs(batch, *rows)
    asked: dict[str, Any] = {}
    if kept.any():
        asked["kept"] = torch.cat([kept, kept.new_zeros(len(paired))])
    if same:
        asked["same"] = same
    masks = cache.masks([batch.examples[place] for place in rows[0]])
    if masks is not None:
        asked["weight"] = masks
    with at_size(denoiser, cache.size_of(batch.examples[0])):
        losses = denoiser.denoising_loss(*_rows(cache, batch, *rows), config.guidance, **asked)
    own, under_foil = losses[: len(kept)], losses[len(kept) :]
    weighted = torch.where(kept.to(own.device), config.retention * own, own) if kept.any() else own
    counts = denoiser.schedule.weight(batch.sigma, config.min_snr)
    total = (weighted if counts is None else weighted * counts.to(own.device)).sum()
    if paired:
        total = (
            total
            + config.contrast
            * contrast_term(own[paired], under_foil, config.contrast_sharpness).sum()
        )
    return total


def paired_in(batch: Batch) -> list[int]:
    """The places of the pictures that are seen under their foil too."""
    return [place for place, foil in enumerate(batch.foils) if foil is not None]


def _rows(
    cache: ExampleCache, batch: Batch, places: list[int], captions: list[str]
) -> tuple[Tensor, Tensor, Tensor, Conditioning]:
    latents, noise = cache.latents(batch.examples), torch.stack(list(batch.noise))
    twins = [twin for twin in batch.twins if twin is not None]
    if twins:
        noise = noise_of_twins(batch, latents, cache.latents(twins))
    return latents[places], noise[places], batch.sigma[places], cache.captions(captions)


class Backward:
    """Backward passes, in as many parts as memory asks for; a picture's captions stay together."""

    def __init__(self, denoiser: Denoiser, cache: ExampleCache, config: TrainConfig):
        """Nothing is computed yet; `micro_batch` pictures are tried first."""
        self._denoiser, self._cache, self._config = denoiser, cache, config
        self._pictures = config.micro_batch or config.batch_size

    def __call__(self, batch: Batch, optimizer: torch.optim.Optimizer) -> Tensor:
        """This process's share of the global batch's mean loss, and the gradients of that alone.

        Raises:
            UserError: a single picture does not fit; or so many, where the model is divided.
        """

        def run(pictures: int) -> Tensor:
            self._pictures = pictures
            optimizer.zero_grad(set_to_none=True)  # what a part that did not fit has left
            total = torch.zeros((), device=self._denoiser.device)
            for part in self._parts(batch, pictures):
                with self._dropping(part):
                    loss = self._loss(part)
                    loss.backward()
                total += loss.detach()
            return total

        # Where the model is in pieces, the others are in the midst of the pass that failed.
        again = divided_among() == 1
        mend = MEND if again else f"set a smaller train.micro_batch, {MEND}"
        return within_memory(run, self._pictures, "train", mend, again)

    @torch.no_grad()
    def forward(self, batch: Batch) -> None:
        """The losses of a batch in the parts in which they were last computed."""
        for part in self._parts(batch, self._pictures):
            with self._dropping(part):
                self._loss(part)

    def _parts(self, batch: Batch, pictures: int) -> Iterator[Batch]:
        """So many pictures at a time, those of one size together."""
        for start in range(0, len(batch.examples), pictures):
            part = batch.rows(slice(start, start + pictures))
            for places in self._cache.together(part.examples):
                yield part.pick(places)

    def _dropping(self, part: Batch) -> AbstractContextManager[None]:
        drops = [*part.drops, *(part.drops[p] for p in paired_in(part) if part.drops)]
        return dropping(self._denoiser.model, drops)

    def _loss(self, part: Batch) -> Tensor:
        """Its share of the global batch's mean."""
        return step_loss(self._denoiser, self._cache, part, self._config) / self._config.batch_size
