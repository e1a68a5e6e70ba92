"""Mode skip: a block returns its inputs, stream by stream."""

from torch import Tensor

from ablate2tune.ablation.mode import MODES, Activation, Mode


def inputs(activation: Activation) -> Tensor:
    """The stream as it enters the block."""
    assert activation.start is not None, "the mode is for blocks"
    return activation.start


MODES.add(
    "skip",
    Mode(
        "the block's own inputs, stream by stream",
        inputs,
        levels=("block",),
        whole=True,
        screened=True,
        drawn=True,
        unbaked=None,
    ),
)
