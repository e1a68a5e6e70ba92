"""Pictures as cameras and editors write them, made by hand and read as a person sees them."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ablate2tune.disk.picture_reading import read_picture, read_pictures
from ablate2tune.errors import UserError

RED, WHITE = (255, 0, 0), (255, 255, 255)


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *chunks: bytes) -> bytes:
    """A PNG file by the specification, without a library: rows begin with filter byte 0."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    held = b"".join(chunk(part[:4], part[4:]) for part in chunks)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + held
        + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )  # fmt: skip


def tiff(order: str, width: int, height: int, bits: int, photometric: int, data: bytes) -> bytes:
    """A grey TIFF of one strip by the specification."""
    fields = [
        (256, 3, width), (257, 3, height), (258, 3, bits), (259, 3, 1), (262, 3, photometric),
        (273, 4, 8), (277, 3, 1), (278, 3, height), (279, 4, len(data)),
    ]  # fmt: skip
    mark = {"<": b"II", ">": b"MM"}[order]
    padded = data + b"\0" * (len(data) % 2)
    entries = b"".join(
        struct.pack(f"{order}HHI", tag, kind, 1)
        + (struct.pack(f"{order}HH", value, 0) if kind == 3 else struct.pack(f"{order}I", value))
        for tag, kind, value in fields
    )
    head = mark + struct.pack(f"{order}HI", 42, 8 + len(padded))
    return head + padded + struct.pack(f"{order}H", len(fields)) + entries + b"\0" * 4


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def saved(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


def test_sixteen_bit_grey_is_grey(tmp_path):
    """The fault: 16-bit grey was read as white."""
    values = [0, 257, 32896, 65535]  # 0, 1, 128 and 255 of 255
    rows = b"\0" + struct.pack(">4H", *values)
    expected = np.repeat(np.array([[0, 1, 128, 255]], np.uint8)[:, :, None], 3, axis=2)
    inverse = struct.pack("<4H", *(65535 - value for value in values))
    files = {
        "png": png(4, 1, 16, 0, rows),
        "little.tif": tiff("<", 4, 1, 16, 1, struct.pack("<4H", *values)),
        "big.tif": tiff(">", 4, 1, 16, 1, struct.pack(">4H", *values)),
        "white-is-zero.tif": tiff("<", 4, 1, 16, 0, inverse),
        "pgm": b"P5\n4 1\n65535\n" + struct.pack(">4H", *values),
    }
    for name, data in files.items():
        np.testing.assert_array_equal(read_picture(written(tmp_path / name, data)), expected, name)


def test_twelve_bit_grey_goes_to_white(tmp_path):
    packed = bytes([0xFF, 0xF0, 0x00])  # 4095 and 0
    found = read_picture(written(tmp_path / "12.tif", tiff("<", 2, 1, 12, 1, packed)))
    np.testing.assert_array_equal(found[0, :, 0], [255, 0])


@pytest.mark.parametrize("turn", range(1, 9))
def test_the_exif_turn_is_followed(tmp_path, turn: int):
    """The fault: the turn was ignored. Orientations by the EXIF specification's own table."""
    upright = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.T, 6: upright.T[::-1], 7: upright.T[::-1, ::-1], 8: upright.T[:, ::-1],
    }[turn]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = turn
    path = saved(tmp_path / "turned.png", Image.fromarray(np.ascontiguousarray(stored)), exif=exif)
    np.testing.assert_array_equal(read_picture(path)[:, :, 0], upright)


def test_transparency_lies_over_white(tmp_path):
    pixels = np.array([[[255, 0, 0, 255], [255, 0, 0, 0], [0, 0, 0, 51]]], np.uint8)
    found = read_picture(saved(tmp_path / "rgba.png", Image.fromarray(pixels)))
    np.testing.assert_array_equal(found, [[RED, WHITE, (204, 204, 204)]])
    grey = read_picture(saved(tmp_path / "la.png", Image.fromarray(pixels).convert("LA")))
    np.testing.assert_array_equal(grey[0, 1:], [WHITE, (204, 204, 204)])
    palette = b"PLTE" + bytes([*RED, 0, 0, 255]), b"tRNS" + bytes([255, 0])
    found = read_picture(written(tmp_path / "p.png", png(2, 1, 8, 3, b"\0\0\1", *palette)))
    np.testing.assert_array_equal(found, [[RED, WHITE]])


def test_kinds_that_editors_write(tmp_path):
    red = Image.new("RGB", (4, 2), RED)
    exact = {
        "bilevel.png": (Image.new("1", (4, 2), 1), WHITE),
        "palette.gif": (red.convert("P"), RED),
        "rgb16.png": (None, RED),
        "cmyk.tif": (Image.new("CMYK", (4, 2), (0, 255, 255, 0)), RED),
        "red.bmp": (red, RED),
        "red.webp": (red, RED),
    }
    wide = b"".join(b"\0" + struct.pack(">3H", 65535, 0, 0) * 4 for _ in range(2))
    written(tmp_path / "rgb16.png", png(4, 2, 16, 2, wide))
    for name, (image, colour) in exact.items():
        path = tmp_path / name
        options = {"lossless": True} if name.endswith("webp") else {}
        found = read_picture(saved(path, image, **options) if image else path)
        assert found.dtype == np.uint8 and found.shape == (2, 4, 3), name
        np.testing.assert_array_equal(found, np.full((2, 4, 3), colour, np.uint8), name)
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    found = read_picture(saved(tmp_path / "cmyk.jpg", cmyk, quality=95)).astype(int)
    assert np.abs(found - RED).max() < 8  # lossy; inverted it would be cyan


def test_what_does_not_say_how_it_looks_is_refused_by_name(tmp_path):
    kinds = {
        "floating-point numbers": saved(tmp_path / "f.tif", Image.new("F", (2, 2), 0.5)),
        "32-bit integers": saved(tmp_path / "i.tif", Image.new("I", (2, 2), 70000)),
        "LAB colours": saved(tmp_path / "lab.tif", Image.new("LAB", (2, 2))),
    }
    for kind, path in kinds.items():
        with pytest.raises(UserError, match=rf"{path.name}: its pixels are {kind}.*8-bit PNG"):
            read_picture(path)
    frames = [Image.new("RGB", (2, 2), colour) for colour in (RED, WHITE)]
    moving = saved(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    with pytest.raises(UserError, match=r"a.gif: holds 2 pictures"):
        read_picture(moving)


def test_no_raw_exception(tmp_path):
    whole = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(whole, "PNG")
    huge = png(60000, 60000, 8, 0, b"")
    for name, data, reason in (
        ("empty.png", b"", "is an empty file"),
        ("text.png", b"a cat", "is no picture of a known format"),
        ("cut.png", whole.getvalue()[:1500], "the picture is damaged"),
        ("head.png", whole.getvalue()[:20], "no picture|damaged"),
        ("huge.png", huge, "has too many pixels"),
    ):
        with pytest.raises(UserError, match=f"{name}.*({reason})"):
            read_picture(written(tmp_path / name, data))
    with pytest.raises(UserError, match=r"none.png: no such picture"):
        read_picture(tmp_path / "none.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UserError, match=r"folder.png: the picture cannot be read"):
        read_picture(tmp_path / "folder.png")


def test_one_size(tmp_path):
    paths = [
        saved(tmp_path / f"{width}.png", Image.new("RGB", (width, 2), RED)) for width in (4, 3)
    ]
    with pytest.raises(UserError, match=r"3.png: 3 x 2 pixels, but the first picture has 4 x 2"):
        read_pictures(paths)
    assert read_pictures([paths[0]] * 2).shape == (2, 2, 4, 3)
