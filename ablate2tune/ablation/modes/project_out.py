"""Mode project_out: one direction is taken out of the activation."""

import torch
from torch import Tensor

from ablate2tune.ablation.mode import MODES, Activation, Mode
from ablate2tune.errors import UserError


def without_direction(activation: Activation) -> Tensor:
    """The activation without its part along the address's direction.

    Where an address names columns, only these take part: the direction lies in their space.
    """
    x, address = activation.x, activation.address
    direction, columns = activation.support.directions[address], activation.site.columns
    if columns is None:
        return projected_out(x, direction, address)
    chosen = torch.tensor(columns, device=x.device)
    new = x.clone()
    new[..., chosen] = projected_out(x[..., chosen], direction, address)
    return new


def projected_out(x: Tensor, direction: Tensor, address: str) -> Tensor:
    """x - (x . v) v for a direction of unit length; computed in float32.

    Raises:
        UserError: the direction is zero or of another width.
    """
    if direction.shape != x.shape[-1:]:
        raise UserError(
            f"the direction has {tuple(direction.shape)}, the tensor {x.shape[-1]} channels",
            where=address,
        )
    v = direction.to(x.device, torch.float32)
    norm = v.norm()
    if not torch.isfinite(norm) or norm == 0:
        raise UserError("the direction has no length", where=address)
    v = v / norm
    wide = x.float()
    return (wide - (wide @ v)[..., None] * v).to(x.dtype)


MODES.add(
    "project_out",
    Mode(
        "itself without its part along a direction",
        without_direction,
        needs=frozenset({"directions"}),
        block_mode="project_out",
        drawn=True,
        tried=True,
    ),
)
