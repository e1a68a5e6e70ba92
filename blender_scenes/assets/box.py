# SPDX-License-Identifier: Apache-2.0
"""Boxes: plain, cardboard open and closed, a crate, a gift, a chest."""

from __future__ import annotations

import math
from dataclasses import dataclass

from . import Asset, Builder


@dataclass(frozen=True)
class Box:
    """`width`, `depth`, `height` in metres; `style`: open, taped, crate, ribbon or lid."""

    width: float
    depth: float
    height: float
    style: str


def plain(b: Builder) -> None:
    """Oblong, with an overhanging lid that tells it from a cube."""
    b.block((-0.47, -0.33, 0.0), (0.47, 0.33, 0.46))
    b.block((-0.52, -0.38, 0.42), (0.52, 0.38, 0.62))


def build(b: Builder, box: Box, pose: str) -> None:
    w, d, h = box.width / 2, box.depth / 2, box.height
    if box.style in ("open", "crate"):
        _walls(b, box)
        if box.style == "open":
            _flaps(b, box)
        return
    b.slab((-w, -d, 0), (w, d, h), "body", 0.006)
    if box.style == "taped":
        b.slab((-0.15 * w, -1.01 * d, 0.55 * h), (0.15 * w, 1.01 * d, 1.006 * h), "tape", 0.001)
        b.slab((-1.004 * w, -0.01 * d, 0.6 * h), (1.004 * w, 0.01 * d, 1.004 * h), "trim", 0.001)
    elif box.style == "ribbon":
        b.slab((-0.14 * w, -1.02 * d, -0.0), (0.14 * w, 1.02 * d, 1.02 * h), "body/mark", 0.002)
        b.slab((-1.02 * w, -0.14 * d, -0.0), (1.02 * w, 0.14 * d, 1.02 * h), "body/mark", 0.002)
        for side in (-1, 1):
            with b.moved(to=(0, 0, 1.02 * h), turn=(0, -35 * side, 0)):
                b.ellipsoid(
                    (0.34 * w * side, 0, 0.05 * h), (0.34 * w, 0.2 * d, 0.1 * h), "body/mark"
                )
    elif box.style == "lid":
        b.slab((-1.06 * w, -1.06 * d, 0.72 * h), (1.06 * w, 1.06 * d, 1.0 * h), "body/dark", 0.008)
        b.slab((-0.09 * w, -1.13 * d, 0.56 * h), (0.09 * w, -1.0 * d, 0.80 * h), "brass", 0.004)


def _walls(b: Builder, box: Box) -> None:
    w, d, h = box.width / 2, box.depth / 2, box.height
    thick = 0.03 * box.width
    b.slab((-w, -d, 0), (w, d, thick), "body", 0.002)
    planks = 3 if box.style == "crate" else 1
    surface = "body/wood" if box.style == "crate" else "body"
    for k in range(planks):
        low = h * k / planks + (0.015 if k else 0.0)
        high = h * (k + 1) / planks
        for s in (-1, 1):
            b.slab((s * w - thick / 2, -d, low), (s * w + thick / 2, d, high), surface, 0.003)
            b.slab((-w, s * d - thick / 2, low), (w, s * d + thick / 2, high), surface, 0.003)
    if planks > 1:
        for x in (-w, w):
            for y in (-d, d):
                b.slab((x - thick, y - thick, 0), (x + thick, y + thick, h), "body/dark", 0.003)
    for t in range(12):
        a = math.pi * t / 6
        b.columns.append((w * max(-1, min(1, 1.5 * math.cos(a))),
                          d * max(-1, min(1, 1.5 * math.sin(a)))))  # fmt: skip


def _flaps(b: Builder, box: Box) -> None:
    w, d, h = box.width / 2, box.depth / 2, box.height
    for turn, across, along in ((0, w, d), (90, d, w), (180, w, d), (270, d, w)):
        with b.moved(turn=(0, 0, turn)), b.moved(to=(across, 0, h), turn=(0, 38, 0)):
            b.slab((0, -along, -0.008), (0.75 * min(w, d), along, 0.0), "body", 0.002)


ASSET = Asset(
    "box",
    build,
    {"open": Box(0.46, 0.40, 0.32, "open"), "taped": Box(0.46, 0.36, 0.32, "taped"),
     "crate": Box(0.50, 0.38, 0.30, "crate"), "gift": Box(0.36, 0.36, 0.30, "ribbon"),
     "chest": Box(0.52, 0.34, 0.34, "lid")},
    colours=("brown", "red", "green", "blue", "yellow", "purple", "orange", "white"),
    holds=("open", "crate"),
    solid_top=True,
    plain=plain,
    seconds={"gift": "body/mark"},
    synonyms={"crate": ("crate",), "chest": ("chest",), "gift": ("gift",), "present": ("gift",),
              "parcel": ("taped",)},
)  # fmt: skip
