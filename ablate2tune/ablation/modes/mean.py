"""Mode mean: mean ablation over a calibration set that is not measured."""

from torch import Tensor

from ablate2tune.ablation.mode import MODES, Activation, Mode


def mean(activation: Activation) -> Tensor:
    """The calibrated mean at the noise level of this call, per position."""
    means = activation.support.means
    assert means is not None  # the engine has refused this
    return means.mean(activation.site.key, activation.index, activation.x)


MODES.add(
    "mean",
    Mode(
        "its mean over calibration examples, per position and noise level",
        mean,
        needs=frozenset({"means"}),
        screened=True,
        drawn=True,
        unbaked="its mean is one for the first token and another for all others, which no weight "
        "and no bias can hold",
    ),
)
