# SPDX-License-Identifier: Apache-2.0
"""Lamps: floor lamp, table lamp, desk lamp, globe, lantern."""

from __future__ import annotations

from dataclasses import dataclass

from . import Asset, Builder


@dataclass(frozen=True)
class Lamp:
    """Metres; `style`: shade, arm, globe."""

    height: float
    shade: float
    style: str


def build(b: Builder, lamp: Lamp, pose: str) -> None:
    h, r = lamp.height, lamp.shade
    if lamp.style == "arm":
        _desk(b, h, r)
        return
    b.rod((0, 0, 0), (0, 0, 0.025), 0.75 * r, 0.6 * r, "metal", 32)
    tall = h > 1.0
    if tall:
        b.rod((0, 0, 0.02), (0, 0, h - 0.9 * r), 0.026, 0.026, "metal")
    else:
        b.lathe(
            [
                (0.28 * r, 0.02),
                (0.42 * r, 0.2 * h),
                (0.2 * r, 0.42 * h),
                (0.1 * r, 0.5 * h),
                (0.07 * r, 0.62 * h),
            ],
            surface="brass",
        )
    if lamp.style == "globe":
        b.ellipsoid((0, 0, h - r), (r, r, r), "bulb", 28)
        b.lathe([(0.5 * r, h - 2.0 * r), (0.62 * r, h - 1.8 * r)], surface="body/gloss")
        b.lathe([(1.03 * r, h - 1.12 * r), (1.03 * r, h - 0.88 * r)], surface="body/gloss")
        return
    low = h - 1.15 * r
    b.lathe([(r, low), (0.62 * r, h)], surface="body")
    b.lathe([(0.97 * r, low), (0.6 * r, h)], surface="body/pale")
    b.disc(0.6 * r, h - 0.02, upwards=True, surface="bulb")
    b.ellipsoid((0, 0, low + 0.3 * r), (0.3 * r, 0.3 * r, 0.35 * r), "bulb")


def _desk(b: Builder, h: float, r: float) -> None:
    b.rod((0, 0.1, 0), (0, 0.1, 0.03), r, 0.85 * r, "body/gloss", 32)
    b.rod((0, 0.1, 0.02), (0, 0.24, 0.55 * h), 0.014, 0.014, "metal")
    b.rod((0, 0.24, 0.55 * h), (0, -0.05, h - 0.04), 0.014, 0.014, "metal")
    b.ellipsoid((0, 0.24, 0.55 * h), (0.028, 0.028, 0.028), "metal")
    with b.moved(to=(0, -0.05, h - 0.03), turn=(38, 0, 0)):
        b.lathe(
            [
                (1.15 * r, -1.15 * r),
                (0.8 * r, -0.5 * r),
                (0.34 * r, -0.1 * r),
                (0.3 * r, 0.1 * r),
                (0.0, 0.12 * r),
            ],
            surface="body/gloss",
        )
        b.lathe([(1.12 * r, -1.13 * r), (0.3 * r, -0.12 * r)], surface="paper")
        b.ellipsoid((0, 0, -0.75 * r), (0.36 * r, 0.36 * r, 0.42 * r), "bulb")


ASSET = Asset(
    "lamp",
    build,
    {
        "floor": Lamp(1.5, 0.24, "shade"),
        "table": Lamp(0.5, 0.17, "shade"),
        "desk": Lamp(0.48, 0.1, "arm"),
        "globe": Lamp(1.35, 0.17, "globe"),
    },
    synonyms={"floor lamp": ("floor", "globe"), "table lamp": ("table",), "desk lamp": ("desk",)},
    places=("indoors",),
)
