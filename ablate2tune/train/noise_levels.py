"""Flow matching: how latents are noised, what the denoiser is asked for, and at which noise levels.

Rectified flow as FLUX and SD3 are trained (Lipman et al. 2023, arXiv:2210.02747; Esser et al.
2024, arXiv:2403.03206).
"""

from typing import Literal

import torch
from torch import Tensor

from ablate2tune.models.schedules import interpolate, squared_error, velocity_target

__all__ = [
    "Density",
    "flow_matching_loss",
    "interpolate",
    "sample_sigmas",
    "velocity_target",
]

Density = Literal["flux_shift", "logit_normal", "uniform"]


def flow_matching_loss(prediction: Tensor, latents: Tensor, noise: Tensor) -> Tensor:
    """Squared error of the predicted velocity per example, in float32.

    Args:
        prediction: the denoiser's velocity, (batch, tokens, channels).
        latents: clean latents, the same shape.
        noise: the noise they were mixed with, the same shape.

    Returns:
        (batch,), the mean over tokens and channels.
    """
    return squared_error(prediction, velocity_target(latents.float(), noise.float()))


def sample_sigmas(count: int, density: Density, shift: float, generator: torch.Generator) -> Tensor:
    """Noise levels to train at.

    Args:
        count: how many.
        density: "uniform" on [0, 1); "logit_normal", sigmoid(N(0, 1)); "flux_shift", the same
            moved to s * sigma / (1 + (s - 1) * sigma), as FLUX's sampler moves its levels.
        shift: the factor s, used by "flux_shift" alone.
        generator: a CPU generator.

    Returns:
        (count,), float32 on the CPU.
    """
    if density == "uniform":
        return torch.rand(count, generator=generator)
    sigma = torch.randn(count, generator=generator).sigmoid()
    if density == "logit_normal":
        return sigma
    return shift * sigma / (1 + (shift - 1) * sigma)
