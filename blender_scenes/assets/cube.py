# SPDX-License-Identifier: Apache-2.0
"""Cubes: plain, sharp, rounded, framed, a die, a toy block."""

from __future__ import annotations

from dataclasses import dataclass

from . import Asset, Builder


@dataclass(frozen=True)
class Cube:
    """`side` and `bevel` in metres; `face`: none, dots or frame."""

    side: float
    bevel: float
    face: str = "none"


def plain(b: Builder) -> None:
    b.block((-0.42, -0.42, 0.0), (0.42, 0.42, 0.84))


PIPS = {
    1: [(0, 0)],
    2: [(-1, -1), (1, 1)],
    3: [(-1, -1), (0, 0), (1, 1)],
    4: [(-1, -1), (-1, 1), (1, -1), (1, 1)],
    5: [(-1, -1), (-1, 1), (0, 0), (1, -1), (1, 1)],
    6: [(-1, -1), (-1, 0), (-1, 1), (1, -1), (1, 0), (1, 1)],
}
TURNS = {1: (0, 0, 0), 2: (90, 0, 0), 3: (90, 0, 90), 4: (90, 0, 270), 5: (90, 0, 180)}


def build(b: Builder, cube: Cube, pose: str) -> None:
    h = cube.side / 2
    b.slab((-h, -h, 0), (h, h, 2 * h), "body", cube.bevel)
    if cube.face == "dots":
        for count, turn in TURNS.items():
            with b.moved(to=(0, 0, h), turn=turn):
                for x, y in PIPS[count]:
                    b.rod((0.5 * h * x, 0.5 * h * y, h - 0.01 * h),
                          (0.5 * h * x, 0.5 * h * y, 1.015 * h), 0.17 * h, 0.17 * h,
                          "body/mark")  # fmt: skip
    elif cube.face == "frame":
        e, w = 1.03 * h, 0.16 * h
        for s in (-1, 1):
            for t in (-1, 1):
                x, y = s * (e - w / 2), t * (e - w / 2)
                for turn in ((0, 0, 0), (90, 0, 0), (0, 90, 0)):
                    with b.moved(to=(0, 0, h), turn=turn):
                        b.slab((x - w / 2, y - w / 2, -h), (x + w / 2, y + w / 2, h),
                               "body/dark", 0.004)  # fmt: skip


ASSET = Asset(
    "cube",
    build,
    {"sharp": Cube(0.3, 0.002), "rounded": Cube(0.3, 0.04), "die": Cube(0.24, 0.03, "dots"),
     "framed": Cube(0.34, 0.004, "frame")},
    solid_top=True,
    floats=True,
    plain=plain,
    synonyms={"block": (), "die": ("die",), "dice": ("die",)},
)  # fmt: skip
