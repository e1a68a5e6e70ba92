"""Features of a sparse autoencoder over a block's output (Bricken et al. 2023; Cunningham et al.
2023, arXiv:2309.08600): f(x) = act(W (x - b_dec) + b_enc), x ~ sum of f(x) d + b_dec.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ablate2tune.errors import UserError

NAMES = {
    "encoder": ("W_enc", "encoder.weight"),
    "decoder": ("W_dec", "decoder.weight"),
    "encoder_bias": ("b_enc", "encoder.bias"),
    "decoder_bias": ("b_dec", "decoder.bias", "bias", "pre_bias"),
    "threshold": ("threshold", "log_threshold"),
}
"""Under which names files hold each tensor: SAELens' and those of plain modules."""


@dataclass(frozen=True)
class SparseFeatures:
    """An autoencoder's weights, float32."""

    encoder: Tensor
    """(features, channels)."""
    decoder: Tensor
    """(features, channels): the direction that each feature writes."""
    encoder_bias: Tensor
    """(features,)."""
    decoder_bias: Tensor
    """(channels,)."""
    threshold: Tensor | None = None
    """(features,): below it a feature is off (JumpReLU, Rajamanoharan et al. 2024)."""

    def __len__(self) -> int:
        return len(self.encoder)

    def activations(self, x: Tensor, chosen: Tensor) -> Tensor:
        """How strongly some features are on: (..., channels) to (..., chosen), float32."""
        place = x.device
        wide = x.float() - self.decoder_bias.to(place)
        found = wide @ self.encoder[chosen].T.to(place) + self.encoder_bias[chosen].to(place)
        if self.threshold is None:
            return found.relu()
        return torch.where(found > self.threshold[chosen].to(place), found.relu(), 0.0)

    def without(self, x: Tensor, chosen: Tensor) -> Tensor:
        """x - sum of f(x) d over the chosen features; what they do not explain stays."""
        written = self.activations(x, chosen) @ self.decoder[chosen].to(x.device)
        return (x.float() - written).to(x.dtype)


def load_features(path: Path, width: int) -> SparseFeatures:
    """An autoencoder from a safetensors file, for a stream of that many channels.

    Raises:
        UserError: there is no such file, it is damaged, it lacks weights, or they do not fit.
    """
    try:
        held = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot be read ({error})", where=str(path)) from error
    found: dict[str, Tensor] = {}
    for part, names in NAMES.items():
        for name in (name for name in names if name in held):
            tensor = held[name].float()
            found[part] = tensor.exp() if name.startswith("log_") else tensor
    missing = [part for part in ("encoder", "decoder") if part not in found]
    if missing:
        raise UserError(
            f"holds no {' and no '.join(missing)}",
            where=str(path),
            mend=f"name them {' and '.join(NAMES[part][0] for part in missing)}",
        )
    for part in ("encoder", "decoder"):
        if found[part].ndim != 2 or width not in found[part].shape:
            raise UserError(
                f"its {part} is {tuple(found[part].shape)}, the stream has {width} channels",
                where=str(path),
                mend="use an autoencoder of this model and layer",
            )
        if found[part].shape[1] != width:
            found[part] = found[part].T.contiguous()
    count = len(found["encoder"])
    found.setdefault("encoder_bias", torch.zeros(count))
    found.setdefault("decoder_bias", torch.zeros(width))
    for part, size in (("decoder", (count, width)), ("encoder_bias", (count,)),
                       ("decoder_bias", (width,)), ("threshold", (count,))):  # fmt: skip
        if part in found and tuple(found[part].shape) != size:
            raise UserError(
                f"its {part} is {tuple(found[part].shape)}, not {size}", where=str(path)
            )
        if part in found and not torch.isfinite(found[part]).all():
            raise UserError(f"its {part} is not finite", where=str(path))
    return SparseFeatures(**found)
