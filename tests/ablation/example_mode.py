"""A mode of another package: `half`, an activation at half its size."""

from torch import Tensor

from ablate2tune.ablation.mode import MODES, Activation, Mode


def half(activation: Activation) -> Tensor:
    """Half of it."""
    return activation.x / 2


MODES.add(
    "half",
    Mode(
        becomes="half of itself",
        replace=half,
        levels=("sublayer", "head", "projection"),
        screened=True,
        drawn=True,
    ),
)
