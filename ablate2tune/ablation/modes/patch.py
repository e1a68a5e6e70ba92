"""Mode patch: activation patching (Heimersheim & Nanda 2024, arXiv:2404.15255)."""

from torch import Tensor

from ablate2tune.ablation.mode import MODES, Activation, Mode


def patched(activation: Activation) -> Tensor:
    """What was recorded of this tensor under the other caption."""
    return activation.given(activation.support.patched, activation.site.key)


MODES.add(
    "patch",
    Mode(
        "that of the same example under its other caption",
        patched,
        needs=frozenset({"patched"}),
        block_mode="patch",
        restores=True,
    ),
)
