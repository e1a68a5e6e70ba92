"""Whether pictures and texts fit the model: one check for all stages, before any work."""

import io
from collections.abc import Iterable
from typing import Protocol

from PIL import Image

from ablate2tune.errors import UserError
from ablate2tune.models.denoiser import Denoiser


class Payload(Protocol):
    """Whatever holds a picture's file: a path, or a member of an archive."""

    def read_bytes(self) -> bytes:
        """The file's content."""
        ...


ORIENTATION, SIDEWAYS = 0x0112, (5, 6, 7, 8)
"""The EXIF tag of a camera's turn, and its values that exchange width and height."""


def check_fit(denoiser: Denoiser, pictures: Iterable[Payload], texts: Iterable[str]) -> None:
    """Refuse pictures of another size than the model runs at, and texts that it would cut.

    A model that is run at another size than its pictures' crashes, or scores other pictures: 32 x
    128 pixels have as many tokens as 64 x 64. A caption that is cut may equal its foil.

    Args:
        denoiser: the model, at its recipe's size.
        pictures: all that the stage will read; only their headers are decoded.
        texts: all that the stage will encode; repeats cost nothing.

    Raises:
        UserError: naming the first that does not fit.
    """
    config = denoiser.config
    for picture in pictures:
        width, height = _size(picture)
        if (width, height) != (config.width, config.height):
            raise UserError(
                f"{width} x {height} pixels, but the model runs at {config.width} x "
                f"{config.height}",
                where=str(picture),
                mend="set model.width and model.height, or make the pictures anew (scenes.size)",
            )
    for text in dict.fromkeys(texts):
        count, limit = denoiser.token_count(text)
        if count > limit:
            raise UserError(
                f"{text!r} has {count} tokens, and the model is given {limit}: it would be cut",
                where="model.max_sequence_length",
                mend="raise it" if denoiser.length_is_free else "use shorter captions",
            )


def _size(picture: Payload) -> tuple[int, int]:
    try:
        with Image.open(io.BytesIO(picture.read_bytes())) as image:
            width, height = image.size
            turned = image.getexif().get(ORIENTATION, 1) in SIDEWAYS
            return (height, width) if turned else (width, height)
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError("the picture is missing or damaged", where=str(picture)) from error
