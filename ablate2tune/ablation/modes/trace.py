"""Mode trace: causal tracing (Meng et al. 2022, arXiv:2202.05262)."""

from torch import Tensor

from ablate2tune.ablation.mode import MODES, Activation, Mode


def traced(activation: Activation) -> Tensor:
    """The stream as it leaves the block under the other caption."""
    return activation.given(activation.support.patched, activation.site.state_key)


MODES.add(
    "trace",
    Mode(
        "the block's streams as they leave it under the other caption",
        traced,
        levels=("block",),
        needs=frozenset({"patched"}),
        whole=True,
        block_mode="trace",
        restores=True,
    ),
)
