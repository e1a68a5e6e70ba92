"""The testbed's autoencoder: reconstruction, a light KL, then latents scaled to unit variance."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor

from ablate2tune import seeding
from ablate2tune.testbed.optimisation import Parts, Progress, resumable_training
from ablate2tune.testbed.testbed_recipe import PartConfig


def to_pixels(images: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """uint8 (batch, height, width, 3) to float in [-1, 1], (batch, 3, height, width)."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).to(device).float() / 127.5 - 1


def _encoded(vae: AutoencoderKL, pixels: Tensor) -> DiagonalGaussianDistribution:
    return vae.encode(pixels, return_dict=False)[0]


def _decoded(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    return vae.decode(latents, return_dict=False)[0]  # pyright: ignore


def vae_loss(vae: AutoencoderKL, pixels: Tensor, kl_weight: float, seed: int) -> Tensor:
    """L1 on pixels and on their differences (edges), plus the weighted KL per latent value."""
    posterior = _encoded(vae, pixels)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(posterior.mean.shape, generator=generator).to(pixels.device)
    restored = _decoded(vae, posterior.mean + posterior.std * noise)
    error = restored - pixels
    edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    kl = 0.5 * (posterior.mean.square() + posterior.var - 1 - posterior.logvar).mean()
    return F.l1_loss(restored, pixels) + 0.5 * edges + kl_weight * kl


def train_vae(
    vae: AutoencoderKL,
    images: np.ndarray,
    config: PartConfig,
    kl_weight: float,
    crop: int,
    seed: int,
    work: Path,
    on_progress: Progress | None = None,
) -> None:
    """Train the autoencoder in place, then set its shift and scaling factors.

    `images` are uint8, (n, height, width, 3), of which parts of `crop` by `crop` pixels are seen;
    `work` is the folder of the training state.
    """
    device = vae.device

    def parts_at(step: int) -> Parts:
        rng = seeding.numpy_generator(seed, "vae-batch", step)
        rows = rng.integers(len(images), size=config.batch_size)
        places = rng.integers(np.subtract(images.shape[1:3], crop) + 1, size=(len(rows), 2))
        parts = [
            images[row, top : top + crop, left : left + crop]
            for row, (top, left) in zip(rows, places, strict=True)
        ]
        return [
            lambda half=half, part=part: vae_loss(
                vae,
                to_pixels(half, device),
                kl_weight,
                seeding.seed_for(seed, "vae-noise", step, part),
            )
            for part, half in enumerate(np.array_split(np.stack(parts), 2))
        ]

    resumable_training("vae", vae, parts_at, config, work, on_progress)
    set_latent_scale(vae, images[:1000])


@torch.no_grad()
def set_latent_scale(vae: AutoencoderKL, images: np.ndarray) -> None:
    """Choose `shift_factor` and `scaling_factor` so that latents have mean 0 and variance 1."""
    latents = torch.cat(
        [_encoded(vae, to_pixels(part, vae.device)).mode() for part in np.split(images, 10)]
    )
    vae.register_to_config(
        shift_factor=round(latents.mean().item(), 4),
        scaling_factor=round(1 / latents.std().item(), 4),
    )


@torch.no_grad()
def reconstruct(vae: AutoencoderKL, images: np.ndarray, batch_size: int = 100) -> np.ndarray:
    """Pictures through the autoencoder, uint8 in and out."""
    parts = []
    for start in range(0, len(images), batch_size):
        pixels = to_pixels(images[start : start + batch_size], vae.device)
        restored = _decoded(vae, _encoded(vae, pixels).mode()).clamp(-1, 1)
        restored = ((restored + 1) * 127.5).round().byte()
        parts.append(restored.permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(parts)


def peak_signal_to_noise(images: np.ndarray, restored: np.ndarray) -> float:
    """PSNR in dB over all pictures."""
    error = (images.astype(np.float64) - restored.astype(np.float64)) ** 2
    return float(10 * np.log10(255**2 / error.mean()))
