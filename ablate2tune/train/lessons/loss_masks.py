"""Where the loss of a picture counts: a grey picture beside it, white where it does.

Black counts nothing, grey in between. A mask is scaled and cropped as its picture is, and averaged
over what a latent stands for, or a token where latents are packed into tokens. The weighted mean is
over all that counts (`schedules.squared_error`), as in ai-toolkit and, with its normalised masked
area loss, in OneTrainer.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ablate2tune.disk.picture_reading import read_picture
from ablate2tune.errors import UserError
from ablate2tune.models import Denoiser
from ablate2tune.scenes.dataset.records import SceneRecord
from ablate2tune.train.lessons.user_pictures import MASK, fitted, is_users


def mask_of(record: SceneRecord) -> Path | None:
    """The file of a picture's mask; None where all of it counts."""
    return record.more.get(MASK) if is_users(record) else None


def latent_masks(records: Sequence[SceneRecord], denoiser: Denoiser, latents: Tensor) -> Tensor:
    """How much each place of the latents counts, from 0 to 1.

    Args:
        records: of the pictures.
        denoiser: at the pictures' size.
        latents: of the pictures, (pictures, channels, ..., rows, columns) or packed,
            (pictures, tokens, channels).

    Returns:
        The same with one channel, float32; ones for pictures without a mask.

    Raises:
        UserError: nothing of a mask is left where its picture is cropped.
    """
    height, width = denoiser.config.height, denoiser.config.width
    packed = latents.ndim == 3
    grid = denoiser.latent_grid if packed else (latents.shape[-2], latents.shape[-1])
    found = torch.ones(len(records), *grid)
    for place, record in enumerate(records):
        path = mask_of(record)
        if path is None:
            continue
        seen = fitted(read_picture(path), height, width)
        light = torch.from_numpy(seen[:, :, 0].copy()).float()[None] / 255
        found[place] = F.adaptive_avg_pool2d(light, grid)[0]
        if not found[place].any():
            raise UserError(
                f"nothing of the mask is left at {width} x {height} pixels",
                where=str(path),
                mend="leave the mask or the picture out",
            )
        if record.mirrored:
            found[place] = found[place].flip(-1)
    if packed:
        return found.reshape(len(records), -1, 1)
    return found.reshape(len(records), *[1] * (latents.ndim - 3), *grid)
