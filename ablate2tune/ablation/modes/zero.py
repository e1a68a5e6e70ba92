"""Mode zero."""

import torch
from torch import Tensor

from ablate2tune.ablation.mode import MODES, Activation, Mode


def zeros(activation: Activation) -> Tensor:
    """Zeros."""
    return torch.zeros_like(activation.x)


MODES.add(
    "zero",
    Mode(
        "zeros",
        zeros,
        levels=("sublayer", "head", "projection"),
        experts=True,
        screened=True,
        drawn=True,
        unbaked=None,
    ),
)
