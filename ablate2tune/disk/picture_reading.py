"""Reading picture files of any origin as a person sees them.

Cameras write a turn beside the pixels, editors transparency, palettes, 16 bits and CMYK. Colour
profiles (ICC) are left aside: the numbers are taken as sRGB. What cannot be read faithfully is
refused by name.
"""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ablate2tune.errors import UserError

AGAIN = "save it again as an 8-bit PNG or JPEG"
WIDE = ("I;16", "I;16B", "I;16L", "I;16N")
"""Pillow's names for 16-bit grey."""
SIXTEEN_IN_32 = ("PNG", "PPM")
"""Formats whose 16-bit grey Pillow may hand over as 32-bit integers."""
FIRST_OF_MANY = ("MPO",)
"""Formats of several pictures whose first is the one that viewers show, as some cameras write."""
BITS_PER_SAMPLE, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0
"""Tags of TIFF, and a value."""


class Source(Protocol):
    """A path, or whatever else holds the bytes of a file."""

    def read_bytes(self) -> bytes:
        """The content."""
        ...


def read_picture(source: Path | Source) -> np.ndarray:
    """A picture as RGB, uint8 (height, width, 3).

    Turned as its EXIF says, transparent parts over white, grey of 16 bits (of as many bits as a
    TIFF says) scaled to 8.

    Raises:
        UserError: it is missing, damaged or no picture, holds several, or has a kind of pixels
            that says nothing of how it looks (floats, 32-bit integers, LAB).
    """
    where = str(source)
    try:
        data = source.read_bytes()
    except FileNotFoundError as error:
        raise UserError("no such picture", where=where) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"the picture cannot be read ({reason})", where=where) from error
    if not data:
        raise UserError("the picture is an empty file", where=where)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as image:
                return _seen(image, where)
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError("is no picture of a known format", where=where, mend=AGAIN) from error
    except Image.DecompressionBombError as error:
        raise UserError("the picture has too many pixels", where=where, mend="reduce it") from error
    except Exception as error:  # decoders raise whatever a damaged file leads them to
        reason = " ".join(str(error).split())
        raise UserError(f"the picture is damaged ({reason})", where=where, mend=AGAIN) from error


def read_pictures(sources: Sequence[Path | Source]) -> np.ndarray:
    """Pictures of one size, uint8 (n, height, width, 3).

    Raises:
        UserError: what `read_picture` raises, or one has another size than the first.
    """
    pictures: list[np.ndarray] = []
    for source in sources:
        pictures.append(read_picture(source))
        if pictures[-1].shape != pictures[0].shape:
            size, first = (f"{p.shape[1]} x {p.shape[0]}" for p in (pictures[-1], pictures[0]))
            raise UserError(
                f"{size} pixels, but the first picture has {first}",
                where=str(source),
                mend="bring all pictures to one size",
            )
    return np.stack(pictures)


def _seen(image: Image.Image, where: str) -> np.ndarray:
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format not in FIRST_OF_MANY:
        raise UserError(
            f"holds {frames} pictures", where=where, mend="save the one that is meant by itself"
        )
    bits = 16
    inverted = False
    if image.format == "TIFF":
        tags = getattr(image, "tag_v2", {})
        bits = tags.get(BITS_PER_SAMPLE, (8,))[0]
        inverted = tags.get(PHOTOMETRIC) == WHITE_IS_ZERO
    wide = image.mode in WIDE or (image.mode == "I" and image.format in SIXTEEN_IN_32)
    image = ImageOps.exif_transpose(image)
    if wide:
        grey = np.asarray(image).astype(np.float64) / (2**bits - 1)
        grey = np.rint(255 * np.clip(1 - grey if inverted else grey, 0, 1)).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in ("I", "F", "LAB"):
        kinds = {"I": "32-bit integers", "F": "floating-point numbers", "LAB": "LAB colours"}
        raise UserError(
            f"its pixels are {kinds[image.mode]}, which do not say how it looks",
            where=where,
            mend=AGAIN,
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))
