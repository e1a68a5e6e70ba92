"""Pictures sampled to files: fixed batches, written as they come, resumable.

Floating-point sums may differ in the last bit between batch sizes, which can move a pixel by one.
So the batches are fixed by the list of pictures alone, and a batch that lacks any whole picture is
made again as a whole: an interrupted command ends with the same bytes as an uninterrupted one.
"""

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ablate2tune import files
from ablate2tune.models import Denoiser
from ablate2tune.models.out_of_memory import within_memory

IDENTITY = "ablate2tune"
"""Keyword of the text in a PNG file that holds its picture's identity."""


class Picture(NamedTuple):
    """A picture to sample."""

    text: str
    """The prompt."""
    image_seed: int
    """Seed of its noise: `torch.Generator().manual_seed(image_seed)`."""
    path: Path
    """The PNG."""
    identity: str = ""
    """Hash of all that decides it, where that is known: it is written into the file, and a file
    with another one is not this picture."""


def is_made(denoiser: Denoiser, batch: Sequence[Picture]) -> bool:
    """Whether all pictures of a batch are there, whole and what they are called."""
    size = (denoiser.config.width, denoiser.config.height)
    return all(is_whole(picture.path, size, picture.identity) for picture in batch)


def sample_batch(
    denoiser: Denoiser, batch: Sequence[Picture], steps: int, true_cfg_scale: float = 1.0
) -> np.ndarray:
    """Sample one batch in one call; out of memory on CUDA, in halves.

    Args:
        denoiser: the model as it now is, adapted or ablated.
        batch: the same pictures at every run.
        steps: sampling steps.
        true_cfg_scale: guidance against the empty prompt; 1 is off.

    Returns:
        uint8, (batch, height, width, 3).

    Raises:
        UserError: a single picture does not fit, or one is not finite.
    """

    def sample(rows: int) -> np.ndarray:
        return denoiser.sample(
            [picture.text for picture in batch],
            [picture.image_seed for picture in batch],
            steps=steps,
            true_cfg_scale=true_cfg_scale,
            batch_size=rows,
        )

    return within_memory(sample, len(batch), "model")


def made_batch(
    denoiser: Denoiser,
    batch: Sequence[Picture],
    steps: int,
    true_cfg_scale: float = 1.0,
    within: AbstractContextManager[None] | None = None,
) -> np.ndarray:
    """The pictures of one batch, sampled to their files unless all of them are there.

    The arguments, return and error of `sample_batch`; it is called within a context, if one is
    given.
    """
    if not is_made(denoiser, batch):
        with within or nullcontext():
            images = sample_batch(denoiser, batch, steps, true_cfg_scale)
        write_batch(batch, images)
    return read_images([picture.path for picture in batch])


def write_batch(batch: Sequence[Picture], images: np.ndarray) -> None:
    """Write the pictures of a batch, each as a whole file.

    Raises:
        UserError: a file cannot be written.
    """
    for picture, image in zip(batch, images, strict=True):
        files.write_bytes(picture.path, png(image, picture.identity))


def remove_left_overs(folder: Path) -> None:
    """Remove what a killed process had begun to write."""
    for left_over in folder.glob(".*.tmp"):
        left_over.unlink()


def is_whole(path: Path, size: tuple[int, int], identity: str = "") -> bool:
    """Whether a picture of this width, height and identity is there and decodes to its end."""
    try:
        with Image.open(path) as image:
            image.load()
            return image.size == size and image.info.get(IDENTITY, "") == identity
    except (OSError, SyntaxError, ValueError):
        return False


def read_images(paths: Sequence[Path]) -> np.ndarray:
    """Pictures of one size as uint8 (n, height, width, 3)."""
    return np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])


def png(image: np.ndarray, identity: str = "") -> bytes:
    """A uint8 (height, width, 3) picture as the bytes of a PNG file, with its identity, if any."""
    buffer, notes = io.BytesIO(), PngInfo()
    if identity:
        notes.add_text(IDENTITY, identity)
    Image.fromarray(image).save(buffer, format="PNG", pnginfo=notes)
    return buffer.getvalue()
