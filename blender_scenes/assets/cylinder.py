# SPDX-License-Identifier: Apache-2.0
"""Cylinders: plain, tall, flat, tin, drum."""

from __future__ import annotations

from dataclasses import dataclass

from . import Asset, Builder


@dataclass(frozen=True)
class Cylinder:
    """`radius` and `height` in metres; `rims`: raised rings, `ends`: surface of both ends."""

    radius: float
    height: float
    rims: int = 0
    ends: str = "body"


def plain(b: Builder) -> None:
    b.lathe([(0.4, 0.0), (0.4, 1.0)])
    b.disc(0.4, 1.0, upwards=True)
    b.disc(0.4, 0.0, upwards=False)


def build(b: Builder, cylinder: Cylinder, pose: str) -> None:
    r, h = cylinder.radius, cylinder.height
    b.lathe([(r, 0.0), (r, h)])
    b.disc(r, h, upwards=True, surface=cylinder.ends)
    b.disc(r, 0.0, upwards=False, surface=cylinder.ends)
    for k in range(cylinder.rims):
        z = h * k / max(1, cylinder.rims - 1) * 0.94
        b.lathe([(r, z), (1.05 * r, z), (1.05 * r, z + 0.06 * h), (0.9 * r, z + 0.06 * h)],
                smooth=False, surface="metal")  # fmt: skip


ASSET = Asset(
    "cylinder",
    build,
    {"tall": Cylinder(0.11, 0.42), "flat": Cylinder(0.22, 0.2),
     "tin": Cylinder(0.13, 0.32, 2, "metal"), "drum": Cylinder(0.2, 0.34, 3, "paper")},
    solid_top=True,
    floats=True,
    plain=plain,
    synonyms={"tin": ("tin",), "can": ("tin",), "drum": ("drum",), "barrel": ("drum",)},
)  # fmt: skip
