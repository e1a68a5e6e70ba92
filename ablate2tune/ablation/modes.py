"""What becomes of an ablated tensor: one function per mode, from the tensor to its replacement.

All take and return (batch, ..., channels). The names of the last two are ours, to keep apart what
Diffusion-Transformer-Ablations calls "mean" and "input" from the mean over a data set.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from ablate2tune.errors import UserError

Mode = Literal[
    "skip", "zero", "mean", "resample", "project_out", "channel-mean", "input", "patch", "trace"
]
MODES: tuple[Mode, ...] = get_args(Mode)
"""skip: a block returns its inputs. zero: zeros. mean: the mean over calibration examples, per
position and noise level. resample: the same tensor of another example. project_out: without its
part along a direction. channel-mean: each token's mean over its channels. input: a sub-layer's own
input. patch: the same tensor of the same example under another caption (activation patching,
Heimersheim & Nanda 2024, arXiv:2404.15255). trace, for blocks: its streams as they leave it under
another caption (causal tracing, Meng et al. 2022, arXiv:2202.05262). For a block, all but skip and
trace act on what it adds to its streams, x + f(y - x)."""


def resampled(x: Tensor, partners: Tensor | None, address: str) -> Tensor:
    """Row i of x replaced by row partners[i]; without partners, by the row before it.

    Raises:
        UserError: there is no other row, or a row would replace itself.
    """
    rows = len(x)
    if partners is None:
        if rows < 2:
            raise UserError(
                "resampling needs another example in the batch", where=address, mend="pass two"
            )
        return x.roll(1, 0)
    if rows % len(partners):
        raise UserError(f"{len(partners)} partners for {rows} rows", where=address)
    own = torch.arange(len(partners))
    if bool((partners.cpu() == own).any()):
        raise UserError("an example cannot be its own partner", where=address)
    return x.unflatten(0, (len(partners), -1))[partners.to(x.device)].flatten(0, 1)


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


def channel_mean(x: Tensor) -> Tensor:
    """Each token's mean over its channels, in place of all of them."""
    return x.mean(-1, keepdim=True).expand_as(x)
