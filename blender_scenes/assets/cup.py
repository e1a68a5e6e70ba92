# SPDX-License-Identifier: Apache-2.0
"""Cups: plain, mug, tea cup, tall, beaker."""

from __future__ import annotations

import math
from dataclasses import dataclass

from . import Asset, Builder


@dataclass(frozen=True)
class Cup:
    """Metres; `profile`: share of the outer radius at the foot; `saucer`, `handle`, `full`."""

    radius: float
    height: float
    foot: float
    handle: bool = True
    saucer: bool = False
    full: bool = False


def plain(b: Builder) -> None:
    outer, inner, height, floor = 0.4, 0.34, 0.82, 0.1
    b.lathe([(0.3, 0.0), (outer, height)])
    b.lathe([(outer, height), (inner, height)])
    b.lathe([(inner, height), (0.26, floor)])
    b.disc(0.26, floor, upwards=True)
    b.disc(0.3, 0.0, upwards=False)
    b.handle(x=0.35, z=0.43, radius=0.2, thickness=0.055)
    turns = [2 * math.pi * i / 40 for i in range(40)]
    middle = (outer + inner) / 2
    b.columns.extend((middle * math.cos(t), middle * math.sin(t)) for t in turns)


def build(b: Builder, cup: Cup, pose: str) -> None:
    r, h = cup.radius, cup.height
    base = 0.0
    if cup.saucer:
        b.lathe([(0.9 * r, 0.0), (1.7 * r, 0.14 * h), (1.72 * r, 0.17 * h), (0.9 * r, 0.05 * h)])
        b.disc(0.9 * r, 0.05 * h, upwards=True)
        base = 0.06 * h
    foot, wall = cup.foot * r, 0.09 * r
    outer = [
        (foot + (r - foot) * math.sin(math.pi / 2 * t) ** 0.9, base + (h - base) * t)
        for t in (0.0, 0.1, 0.25, 0.45, 0.7, 1.0)
    ]
    if cup.foot > 0.85:
        outer = [(foot, base), (r, base + 0.05 * h), (r, h)]
    rim = [(r - wall, h)]
    inner = [(max(0.2 * r, x - wall), max(z, base + 0.08 * h)) for x, z in reversed(outer[1:-1])]
    b.disc(foot, base, upwards=False)
    b.lathe([*outer, *rim, *inner, (0.15 * r, base + 0.08 * h)], surface="body/gloss")
    b.disc(0.16 * r, base + 0.08 * h, upwards=True)
    if cup.full:
        b.disc(0.92 * r, 0.86 * h, upwards=True, surface="coffee")
    if cup.handle:
        b.handle(
            x=0.93 * r,
            z=base + 0.54 * (h - base),
            radius=0.27 * h,
            thickness=0.055 * h + 0.02 * r,
            surface="body/gloss",
        )
    turns = [2 * math.pi * i / 40 for i in range(40)]
    b.columns.extend(((r - wall / 2) * math.cos(t), (r - wall / 2) * math.sin(t)) for t in turns)


ASSET = Asset(
    "cup",
    build,
    {
        "mug": Cup(0.042, 0.095, 0.92, full=True),
        "tea cup": Cup(0.05, 0.065, 0.5, saucer=True),
        "tall": Cup(0.04, 0.125, 0.7),
        "beaker": Cup(0.042, 0.11, 0.78, handle=False),
    },
    holds=("beaker",),
    plain=plain,
    synonyms={
        "mug": ("mug", "tall"),
        "teacup": ("tea cup",),
        "tea cup": ("tea cup",),
        "coffee cup": ("mug",),
    },
)
