"""Environment maps (HDRI): the shape of Radiance (.hdr) and OpenEXR (.exr) files."""

import re
import struct
from pathlib import Path

from ablate2tune.errors import UserError

ENDINGS = (".hdr", ".exr")
EXR_MAGIC = b"\x76\x2f\x31\x01"
HEADER = 65536
"""Bytes in which the size of a picture must be said."""
MEND = "use an equirectangular panorama, twice as wide as high"


def check_environment_map(path: Path) -> tuple[int, int]:
    """Width and height (pixels) of a panorama, read from its header.

    Raises:
        UserError: the file is neither, is damaged, or is not twice as wide as high.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(HEADER)
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=str(path)) from error
    is_exr = path.suffix.lower() == ".exr"
    size = _exr_size(head) if is_exr else _hdr_size(head)
    if size is None:
        form = "an OpenEXR" if is_exr else "a Radiance"
        raise UserError(f"is not {form} picture", where=str(path), mend=MEND)
    width, height = size
    if width != 2 * height or height < 1:
        raise UserError(f"is {width} x {height} pixels", where=str(path), mend=MEND)
    return size


def _hdr_size(head: bytes) -> tuple[int, int] | None:
    """After lines of text and an empty one: "-Y height +X width"."""
    if not head.startswith((b"#?RADIANCE", b"#?RGBE")):
        return None
    found = re.search(rb"\n\n-Y (\d+) \+X (\d+)\n", head)
    return (int(found[2]), int(found[1])) if found else None


def _exr_size(head: bytes) -> tuple[int, int] | None:
    """From the attribute `dataWindow` of the header: name, type, size and value by turns."""
    if not head.startswith(EXR_MAGIC):
        return None
    at = 8
    while at < len(head) and head[at]:
        name_end = head.find(b"\0", at)
        type_end = head.find(b"\0", name_end + 1)
        if name_end < 0 or type_end < 0 or type_end + 5 > len(head):
            return None
        (length,) = struct.unpack_from("<i", head, type_end + 1)
        value = type_end + 5
        if head[at:name_end] == b"dataWindow" and value + 16 <= len(head):
            x0, y0, x1, y1 = struct.unpack_from("<4i", head, value)
            return x1 - x0 + 1, y1 - y0 + 1
        if length < 0:
            return None
        at = value + length
    return None
