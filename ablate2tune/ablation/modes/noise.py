"""Mode noise: Gaussian noise as large as the activation varies between examples.

Causal tracing corrupts embeddings so (Meng et al. 2022, arXiv:2202.05262): the component still
speaks, but what it says of this example drowns.
"""

import torch
from torch import Tensor

from ablate2tune.ablation.mode import MODES, Activation, Mode
from ablate2tune.errors import UserError
from ablate2tune.seeding import torch_generator


def noised(activation: Activation) -> Tensor:
    """The activation plus noise of its calibrated spread; a row's noise follows from its seed.

    Raises:
        UserError: there is not one seed per row.
    """
    x, site, seeds = activation.x, activation.site, activation.support.row_seeds
    means = activation.support.means
    assert means is not None  # the engine has refused this
    if len(seeds) != len(x):
        raise UserError(f"{len(seeds)} row seeds for {len(x)} rows", where=activation.address)
    generators = (torch_generator(seed, f"noise:{site.key}", activation.index) for seed in seeds)
    noise = torch.stack([torch.randn(x.shape[1:], generator=g) for g in generators])
    spread = means.spread(site.key, activation.index, x)
    return (x.float() + spread * noise.to(x.device)).to(x.dtype)


MODES.add(
    "noise",
    Mode(
        "itself plus Gaussian noise of its spread over calibration examples",
        noised,
        needs=frozenset({"spreads", "row_seeds"}),
        block_mode="noise",
        unbaked="it draws noise for each example, which no weight can hold",
    ),
)
