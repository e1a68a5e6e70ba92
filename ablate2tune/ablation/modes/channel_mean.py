"""Mode channel-mean."""

from torch import Tensor

from ablate2tune.ablation.mode import MODES, Activation, Mode


def channel_mean(activation: Activation) -> Tensor:
    """Each token's mean over its channels, in place of all of them."""
    return activation.x.mean(-1, keepdim=True).expand_as(activation.x)


MODES.add(
    "channel-mean",
    Mode("each token's mean over its channels", channel_mean, screened=True, drawn=True),
)
