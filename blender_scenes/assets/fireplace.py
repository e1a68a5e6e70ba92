# SPDX-License-Identifier: Apache-2.0
"""Fireplaces: brick, stone, white mantel, with a chimney breast."""

from __future__ import annotations

import math
from dataclasses import dataclass

from . import Asset, Builder


@dataclass(frozen=True)
class Fireplace:
    """Metres; `mantel` surface; `arch`: rounded opening; `breast`: height of the wall above."""

    width: float
    height: float
    mantel: str
    arch: bool = False
    breast: float = 0.0
    courses: bool = True


DEPTH = 0.42


def build(b: Builder, fireplace: Fireplace, pose: str) -> None:
    w, h, d = fireplace.width / 2, fireplace.height, DEPTH / 2
    opening, top = 0.58 * w, 0.68 * h
    for s in (-1, 1):
        b.slab(*_ordered((s * opening, -d, 0), (s * w, d, h)), "body", 0.01)
    b.slab((-opening - 0.01, -d, top), (opening + 0.01, d, h), "body", 0.005)
    b.slab((-opening - 0.01, d - 0.06, 0), (opening + 0.01, d, top + 0.01), "soot", 0.002)
    for s in (-1, 1):
        b.slab(
            *_ordered((s * (opening - 0.012), -d + 0.01, 0), (s * (opening + 0.01), d, top)),
            "soot",
            0.0,
        )
    if fireplace.arch:
        _arch(b, opening, top, d)
    if fireplace.courses:
        _courses(b, w, h, opening, top, d)
    b.slab((-1.14 * w, -1.35 * d, h), (1.14 * w, d, h + 0.075), fireplace.mantel, 0.015)
    b.slab((-1.1 * w, -2.1 * d, 0), (1.1 * w, d, 0.05), "stone", 0.01)
    if fireplace.breast:
        b.slab((-0.8 * w, -0.6 * d, h + 0.07), (0.8 * w, d, h + fireplace.breast), "body", 0.01)
        b.columns.append((0.0, 0.0))
    _fire(b, opening, top)


def _ordered(p, q):
    return tuple(map(min, zip(p, q, strict=True))), tuple(map(max, zip(p, q, strict=True)))


def _courses(b: Builder, w: float, h: float, opening: float, top: float, d: float) -> None:
    """Raised bricks on the front."""
    tall, long, row, z = 0.075, 0.21, 0, 0.06
    while z + tall < h:
        x = -w + (0.0 if row % 2 else -long / 2)
        while x < w:
            low, high = max(-w, x), min(w, x + long - 0.018)
            inside = z < top - 0.02 and low < opening and high > -opening
            if inside:
                spans = [(low, min(high, -opening)), (max(low, opening), high)]
            else:
                spans = [(low, high)]
            for a, c in spans:
                if c - a > 0.02:
                    shade = "body/dark" if (row * 7 + round(x * 31)) % 4 == 0 else "body"
                    b.slab((a, -d - 0.014, z), (c, -d + 0.01, z + tall - 0.016), shade, 0.004)
            x += long
        row, z = row + 1, z + tall


def _arch(b: Builder, opening: float, top: float, d: float) -> None:
    n = 9
    for k in range(n):
        turn = math.degrees(math.pi * (k + 0.5) / n) - 90
        with b.moved(to=(0, 0, top - 0.62 * opening), turn=(0, turn, 0)):
            b.slab(
                (-0.16 * opening, -d - 0.03, 0.95 * opening),
                (0.16 * opening, d, 1.28 * opening),
                "stone",
                0.01,
            )


def _fire(b: Builder, opening: float, top: float) -> None:
    r = 0.055
    for y, z, tilt in ((-0.1, r + 0.05, 4), (0.06, r + 0.05, -6), (-0.02, 0.16, 12)):
        with b.moved(to=(0, y, z), turn=(0, 0, tilt)):
            b.rod((-0.7 * opening, 0, 0), (0.7 * opening, 0, 0), r, r, "log", 14)
            for s in (-1, 1):
                b.rod(
                    (s * 0.7 * opening, 0, 0),
                    (s * 0.71 * opening, 0, 0),
                    0.9 * r,
                    0.9 * r,
                    "log end",
                    14,
                )
    for x, tall, wide in (
        (-0.45, 0.5, 0.16),
        (-0.15, 0.78, 0.2),
        (0.2, 0.66, 0.2),
        (0.48, 0.42, 0.14),
    ):
        foot, height = (x * opening, -0.02, 0.17), tall * top * 0.85
        for scale, surface, y in ((1.0, "flame", 0.0), (0.55, "flame core", -0.05)):
            profile = [(0.4, 0.0), (0.9, 0.12), (1.0, 0.28), (0.72, 0.55), (0.3, 0.82), (0.0, 1.0)]
            with b.moved(to=(foot[0], foot[1] + y, foot[2])):
                b.lathe(
                    [(0.0, -0.01)]
                    + [(wide * opening * scale * p, height * scale * q) for p, q in profile],
                    surface=surface,
                )


ASSET = Asset(
    "fireplace",
    build,
    {
        "brick": Fireplace(1.3, 1.1, "wood"),
        "mantel": Fireplace(1.4, 1.15, "paper", courses=False),
        "arched": Fireplace(1.3, 1.15, "stone", arch=True),
        "chimney": Fireplace(1.25, 1.0, "wood", breast=0.9),
    },
    colours=("red", "white", "grey", "brown"),
    has_front=True,
    one_sided=True,
    solid_top=True,
    synonyms={"hearth": ()},
    grounded=True,
    places=("indoors",),
)
