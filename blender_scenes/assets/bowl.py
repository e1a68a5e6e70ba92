# SPDX-License-Identifier: Apache-2.0
"""Bowls: deep, flat, with fruit, on a foot."""

from __future__ import annotations

import math
from dataclasses import dataclass

from . import Asset, Builder


@dataclass(frozen=True)
class Bowl:
    """Metres; `foot`: height of the foot; `fruit`: how many pieces lie in it."""

    radius: float
    depth: float
    foot: float = 0.012
    fruit: int = 0


FRUIT = ("book red", "beak", "book green")


def build(b: Builder, bowl: Bowl, pose: str) -> None:
    r, h, wall = bowl.radius, bowl.depth, 0.07 * bowl.radius
    arc = [math.pi / 2 * i / 10 for i in range(1, 11)]
    outer = [(max(0.35 * r, r * math.sin(t)), bowl.foot + h * (1 - math.cos(t))) for t in arc]
    inner = [((r - wall) * math.sin(t), bowl.foot + h - (h - wall) * math.cos(t))
             for t in reversed(arc)]  # fmt: skip
    b.disc(0.38 * r, 0.0, upwards=False)
    b.lathe([(0.38 * r, 0.0), (0.34 * r, bowl.foot), *outer, *inner, (0.0, bowl.foot + wall)],
            surface="body/gloss")  # fmt: skip
    for k in range(bowl.fruit):
        t, size = 2 * math.pi * k / max(1, bowl.fruit - 1), 0.34 * r
        x, y = (0.0, 0.0) if k == 0 else (0.42 * r * math.cos(t), 0.42 * r * math.sin(t))
        z = bowl.foot + h * (0.95 if k == 0 else 0.72)
        b.ellipsoid((x, y, z), (size, size, 0.94 * size), FRUIT[k % 3])
        b.rod((x, y, z + 0.85 * size), (x, y, z + 1.15 * size), 0.03 * r, 0.03 * r, "bark", 8)
    turns = [2 * math.pi * i / 40 for i in range(40)]
    b.columns.extend(((r - wall / 2) * math.cos(t), (r - wall / 2) * math.sin(t)) for t in turns)


ASSET = Asset(
    "bowl",
    build,
    {"deep": Bowl(0.11, 0.085), "wide": Bowl(0.15, 0.065), "fruit": Bowl(0.14, 0.08, fruit=5),
     "footed": Bowl(0.12, 0.07, foot=0.05)},
    holds=("deep", "wide", "footed"),
    synonyms={"fruit bowl": ("fruit",)},
)  # fmt: skip
