# SPDX-License-Identifier: Apache-2.0
"""PNG files whose bytes depend on the picture alone: no dates, no render times."""

from __future__ import annotations

import os
import struct
import sys
import zlib
from array import array

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PICTURE_CHUNKS = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
MASK_COLOURS = bytes((0, 0, 0, 230, 60, 60, 60, 120, 230))
"""Palette of instance masks: background, subject, object."""
MORE_COLOURS = bytes((70, 200, 90, 240, 200, 40, 170, 90, 220, 60, 200, 210))
"""Colours after these, for a third object and for bystanders."""


FARTHEST = 65.535
"""What 16 bits of millimetres hold (metres)."""


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(size: int, bits: int, colour_type: int, palette: bytes, rows: list[bytes]) -> bytes:
    header = struct.pack(">IIBBBBB", size, size, bits, colour_type, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows), 6)
    plte = _chunk(b"PLTE", palette) if palette else b""
    return SIGNATURE + _chunk(b"IHDR", header) + plte + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def mask_png(instances: bytes, size: int) -> bytes:
    """An indexed PNG of instance ids (0 to 6), row by row."""
    rows = [bytes(instances[r * size : (r + 1) * size]) for r in range(size)]
    palette = MASK_COLOURS + (MORE_COLOURS if max(instances) > 2 else b"")
    return _png(size, 8, 3, palette, rows)


def depth_png(depth, size: int) -> bytes:
    """A 16-bit grey PNG of depths given in metres, stored in millimetres, clipped at 65.535 m."""
    if max(depth) > FARTHEST:
        depth = [min(d, FARTHEST) for d in depth]
    cells = array("H", map(round, [1000 * d for d in depth]))
    if sys.byteorder == "little":
        cells.byteswap()
    data = cells.tobytes()
    rows = [data[2 * r * size : 2 * (r + 1) * size] for r in range(size)]
    return _png(size, 16, 0, b"", rows)


def stripped(png: bytes) -> bytes:
    """The same PNG without chunks that do not describe pixels."""
    kept, at = [SIGNATURE], len(SIGNATURE)
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] in PICTURE_CHUNKS:
            kept.append(png[at : at + 12 + length])
        at += 12 + length
    return b"".join(kept)


def write_whole(path: str, data: bytes) -> None:
    """Write a file that is never seen half written."""
    temporary = f"{path}.{os.getpid()}.tmp"
    with open(temporary, "wb") as file:
        file.write(data)
    os.replace(temporary, path)
