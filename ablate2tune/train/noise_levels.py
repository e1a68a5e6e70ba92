"""At which noise levels a flow is trained (Esser et al. 2024, arXiv:2403.03206)."""

from typing import Literal

import torch
from torch import Tensor

Density = Literal["flux_shift", "logit_normal", "uniform"]


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
