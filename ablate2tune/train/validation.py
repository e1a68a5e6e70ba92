"""The training loss of a batch, and the validation loss on fixed noise."""

from collections.abc import Sequence

import torch
from accelerate import Accelerator
from torch import Tensor

from ablate2tune.models import Conditioning, Denoiser
from ablate2tune.seeding import torch_generator
from ablate2tune.train.example_cache import ExampleCache

SIGMAS = tuple((i + 0.5) / 8 for i in range(8))
"""Noise levels of the validation loss: the midpoints of eight equal bins of [0, 1]."""


def example_losses(
    denoiser: Denoiser,
    latents: Tensor,
    conditioning: Conditioning,
    sigma: Tensor,
    noise: Tensor,
    guidance: float,
) -> Tensor:
    """The denoising loss of each example, (batch,), float32, on the denoiser's device.

    Args:
        denoiser: predicts the velocity.
        latents: clean packed latents, (batch, tokens, channels).
        conditioning: one row per latent.
        sigma: noise levels in [0, 1], (batch,).
        noise: (batch, tokens, channels).
        guidance: value of the guidance embedding, for models that have one.
    """
    return denoiser.denoising_loss(latents, noise, sigma, conditioning, guidance)


@torch.no_grad()
def validation_losses(
    denoiser: Denoiser,
    cache: ExampleCache,
    examples: Sequence[int],
    captions: Sequence[str],
    seed: int,
    guidance: float,
    batch_size: int,
    accelerator: Accelerator,
) -> list[float]:
    """The mean loss over the examples at each of `SIGMAS`, on noise fixed per example.

    Args:
        denoiser: with its adapter, if it has one.
        cache: holds the latents and captions.
        examples: indices into the cache.
        captions: one per example.
        seed: the run's seed; fixes the noise, which is shared by the noise levels.
        guidance: value of the guidance embedding.
        batch_size: examples per forward pass in each process.
        accelerator: the examples are split over its processes.
    """
    count, shape = len(examples), cache.latents.shape[1:]
    losses = torch.zeros(len(SIGMAS), count, device=denoiser.device)
    index, processes = accelerator.process_index, accelerator.num_processes
    mine = range(index * count // processes, (index + 1) * count // processes)
    for start in range(mine.start, mine.stop, batch_size):
        rows = range(start, min(start + batch_size, mine.stop))
        noise = torch.stack(
            [torch.randn(shape, generator=torch_generator(seed, "validation", i)) for i in rows]
        )
        latents = cache.latents[[examples[i] for i in rows]]
        conditioning = cache.captions([captions[i] for i in rows])
        for level, sigma in enumerate(SIGMAS):
            losses[level, rows.start : rows.stop] = example_losses(
                denoiser, latents, conditioning, torch.full((len(rows),), sigma), noise, guidance
            )
    total: Tensor = accelerator.reduce(losses, reduction="sum")  # pyright: ignore
    return total.double().mean(1).tolist()
