"""The margin probe: how much better the denoiser explains an image by its caption than by a foil.

A diffusion classifier (Li et al. 2023, arXiv:2303.16203; Jeong et al. 2025, arXiv:2505.17955):
every caption of an image is scored on the same noise and noise levels, and only captions of one
image are compared.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from ablate2tune.errors import UserError
from ablate2tune.localize.examples import Examples
from ablate2tune.pipelines import Conditioning
from ablate2tune.seeding import torch_generator
from ablate2tune.train.loss import flow_matching_loss, interpolate

GUIDANCE = 1.0
"""Value of the guidance embedding: the loss is that of the unguided model."""


class Denoiser(Protocol):
    """What the probe needs of a denoiser."""

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        ...

    def velocity(
        self,
        latents: Tensor,
        sigma: Tensor,
        conditioning: Conditioning,
        guidance: float | None = None,
    ) -> Tensor:
        """Predicted velocity, (batch, tokens, channels)."""
        ...


@dataclass(frozen=True)
class Levels:
    """The noise that every image is probed with."""

    sigmas: Sequence[float]
    noises: int
    """Noise draws per image and noise level."""
    seed: int
    batch_size: int
    """Latents per forward; the captions of an image go together."""


class Margins(NamedTuple):
    """Per image and noise level, means over the noise draws; float64, (n, sigmas) each."""

    spatial: np.ndarray
    """Loss under the foil with the opposite relation, minus loss under the caption."""
    control: np.ndarray
    """Loss under the foil with a wrong colour, minus loss under the caption."""
    quality: np.ndarray
    """Minus the loss under the caption."""


def noise_for(example: str, shape: torch.Size, seed: int, level: int, draw: int) -> Tensor:
    """The noise of one image at one noise level and draw, on the CPU: `shape`, float32."""
    generator = torch_generator(seed, f"noise:{example}", level, draw)
    return torch.randn(shape, generator=generator)


@torch.no_grad()
def measure(
    denoiser: Denoiser,
    examples: Examples,
    levels: Levels,
    on_sigma: Callable[[int], None],
    where: str,
) -> Margins:
    """Margins of all examples under the denoiser as it now is.

    Args:
        denoiser: predicts velocity; ablations are active around this call.
        examples: what to measure on.
        levels: the noise.
        on_sigma: told the index of the noise level before each forward.
        where: names the condition in errors.

    Raises:
        UserError: a loss is not finite.
    """
    device = denoiser.device
    captions = np.array([examples.caption, examples.foil, examples.control])
    losses = np.zeros((3, len(examples), len(levels.sigmas)))
    step = max(1, levels.batch_size // 3)
    for start in range(0, len(examples), step):
        chunk = range(start, min(start + step, len(examples)))
        rows = torch.from_numpy(captions[:, chunk.start : chunk.stop].reshape(-1))
        conditioning = examples.conditioning[rows.to(examples.conditioning.pooled.device)]
        latents = examples.latents[chunk.start : chunk.stop].to(device)
        for level, sigma in enumerate(levels.sigmas):
            on_sigma(level)
            for draw in range(levels.noises):
                noise = torch.stack(
                    [
                        noise_for(examples.ids[i], latents.shape[1:], levels.seed, level, draw)
                        for i in chunk
                    ]
                ).to(device)
                loss = _losses(denoiser, latents, noise, sigma, conditioning, copies=3)
                losses[:, chunk.start : chunk.stop, level] += loss.reshape(3, -1) / levels.noises
    if not np.isfinite(losses).all():
        raise UserError(
            "the loss is not finite",
            where=where,
            mend="use model.dtype = float32 or bfloat16, or check the weights",
        )
    caption, foil, control = losses
    return Margins(foil - caption, control - caption, -caption)


@torch.no_grad()
def run_captions(
    denoiser: Denoiser, examples: Examples, levels: Levels, on_sigma: Callable[[int], None]
) -> None:
    """Run the denoiser on every example under its true caption, at all noise levels.

    The noise is the first draw that `measure` would take for these examples.
    """
    device = denoiser.device
    for start in range(0, len(examples), levels.batch_size):
        chunk = slice(start, start + levels.batch_size)
        latents = examples.latents[chunk].to(device)
        for level, sigma in enumerate(levels.sigmas):
            on_sigma(level)
            noise = torch.stack(
                [
                    noise_for(name, latents.shape[1:], levels.seed, level, 0)
                    for name in examples.ids[chunk]
                ]
            ).to(device)
            noised_batch(
                denoiser, latents, noise, sigma, examples.conditioning[examples.caption[chunk]]
            )


def noised_batch(
    denoiser: Denoiser, latents: Tensor, noise: Tensor, sigma: float, conditioning: Conditioning
) -> Tensor:
    """Predicted velocity of noised latents at one noise level, (batch, tokens, channels)."""
    sigmas = torch.full((len(latents),), sigma, device=latents.device)
    noised = interpolate(latents, noise, sigmas)
    return denoiser.velocity(noised, sigmas, conditioning, guidance=GUIDANCE)


def _losses(
    denoiser: Denoiser,
    latents: Tensor,
    noise: Tensor,
    sigma: float,
    conditioning: Conditioning,
    copies: int,
) -> np.ndarray:
    latents, noise = latents.repeat(copies, 1, 1), noise.repeat(copies, 1, 1)
    prediction = noised_batch(denoiser, latents, noise, sigma, conditioning)
    return flow_matching_loss(prediction, latents, noise).double().cpu().numpy()
