# SPDX-License-Identifier: Apache-2.0
"""Cones: plain, steep, flat, traffic cone, striped hat."""

from __future__ import annotations

from dataclasses import dataclass

from . import Asset, Builder


@dataclass(frozen=True)
class Cone:
    """`radius` and `height` in metres; `tip`: radius of the top; bands; a square foot or not."""

    radius: float
    height: float
    tip: float = 0.0
    bands: int = 0
    foot: bool = False


def plain(b: Builder) -> None:
    b.lathe([(0.56, 0.0), (0.0, 1.08)])
    b.disc(0.56, 0.0, upwards=False)


def build(b: Builder, cone: Cone, pose: str) -> None:
    r, h = cone.radius, cone.height
    b.rod((0, 0, 0), (0, 0, h), r, cone.tip, "body", 40)
    for k in range(cone.bands):
        low, high = (2 * k + 1) / (2 * cone.bands + 1), (2 * k + 2) / (2 * cone.bands + 1)
        radii = [(1.02 * (r + (cone.tip - r) * t), t * h) for t in (low, high)]
        b.lathe(radii, surface="body/mark")
    if cone.foot:
        w = 1.25 * r
        b.slab((-w, -w, 0), (w, w, 0.06 * h), "trim", 0.01)


ASSET = Asset(
    "cone",
    build,
    {"steep": Cone(0.14, 0.5), "broad": Cone(0.26, 0.42), "traffic": Cone(0.17, 0.6, 0.03, 2, True),
     "party": Cone(0.15, 0.42, 0.004, 3)},
    floats=True,
    plain=plain,
    seconds={"traffic": "body/mark", "party": "body/mark"},
    synonyms={"traffic cone": ("traffic",), "party hat": ("party",)},
)  # fmt: skip
