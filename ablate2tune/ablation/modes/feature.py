"""Mode feature: features of a sparse autoencoder are taken out of a block's output."""

import torch
from torch import Tensor

from ablate2tune.ablation.mode import MODES, Activation, Mode
from ablate2tune.components.selections import parse
from ablate2tune.errors import UserError


def without_features(activation: Activation) -> Tensor:
    """The stream without what the address's features write into it.

    Raises:
        UserError: the autoencoder has no such feature.
    """
    selection = parse(activation.address)
    features = activation.support.features[selection.path]
    if selection.indices[-1] >= len(features):
        raise UserError(
            f"feature {selection.indices[-1]} is out of range",
            where=activation.address,
            mend=f"it has {len(features)}, from 0 on",
        )
    return features.without(activation.x, torch.tensor(selection.indices))


MODES.add(
    "feature",
    Mode(
        "itself without what features of a sparse autoencoder write",
        without_features,
        levels=("head",),
        needs=frozenset({"features"}),
        whole=True,
        block_mode="feature",
    ),
)
