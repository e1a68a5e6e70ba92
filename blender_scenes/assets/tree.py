# SPDX-License-Identifier: Apache-2.0
"""Trees: broad, tall, fir, palm, young."""

from __future__ import annotations

import math
from dataclasses import dataclass

from . import Asset, Builder


@dataclass(frozen=True)
class Tree:
    """Metres; `style`: round, fir or palm; `crown`: radius; `blobs` of leaves in the crown."""

    height: float
    crown: float
    style: str
    blobs: int = 0


def build(b: Builder, tree: Tree, pose: str) -> None:
    h, c = tree.height, tree.crown
    b.columns.append((0.0, 0.0))
    if tree.style == "fir":
        b.rod((0, 0, 0), (0, 0, 0.3 * h), 0.05 * h, 0.045 * h, "bark")
        for k in range(4):
            low, high = h * (0.16 + 0.2 * k), h * (0.52 + 0.16 * k)
            b.rod((0, 0, low), (0, 0, high), c * (1 - 0.2 * k), 0.0, "body/leaves", 24)
        return
    if tree.style == "palm":
        beads = [(0.12 * h * t * t, 0.0, 0.86 * h * t, 0.045 * h * (1.1 - 0.5 * t))
                 for t in (0, 0.2, 0.4, 0.6, 0.8, 1.0)]  # fmt: skip
        b.tube(beads[1:], "bark")
        b.rod(beads[0][:3], beads[1][:3], beads[0][3], beads[1][3], "bark")
        for k in range(9):
            _frond(b, (0.12 * h, 0.0, 0.87 * h), 2 * math.pi * k / 9, c)
        return
    stem = h - 1.3 * c
    b.rod((0, 0, 0), (0.01 * h, 0, 0.5 * stem), 0.055 * h, 0.042 * h, "bark")
    b.tube([(0.01 * h, 0, 0.5 * stem, 0.042 * h), (0, 0, stem, 0.034 * h)], "bark")
    for k in range(4):
        a = math.pi / 2 * k + 0.6
        tip = (0.5 * c * math.cos(a), 0.5 * c * math.sin(a), stem + 0.45 * c, 0.012 * h)
        b.tube([(0, 0, 0.75 * stem, 0.025 * h), tip], "bark")
    for k in range(tree.blobs):
        # Spread evenly by the golden angle; the size wavers so that the outline is not a sphere.
        t = (k + 0.5) / tree.blobs
        a, z = 2.399963 * k, 1 - 2 * t
        ring = math.sqrt(1 - z * z)
        size = c * (0.40 + 0.09 * math.sin(5.1 * k))
        b.ellipsoid((0.62 * c * ring * math.cos(a), 0.62 * c * ring * math.sin(a),
                     h - 0.98 * c + 0.58 * c * z), (size, size, 0.92 * size),
                    "body/leaves", 12)  # fmt: skip


def _frond(b: Builder, top, turn: float, length: float) -> None:
    """An arched leaf."""
    n, points = 6, []
    for i in range(n + 1):
        t = i / n
        out, up = length * math.sin(1.5 * t) / math.sin(1.5), length * (0.55 * t - 1.05 * t * t)
        half = 0.15 * length * math.sin(math.pi * (0.12 + 0.86 * t))
        for side in (-1, 0, 1):
            x = out * math.cos(turn) - side * half * math.sin(turn)
            y = out * math.sin(turn) + side * half * math.cos(turn)
            points.append((top[0] + x, top[1] + y, top[2] + up - 0.35 * half * abs(side)))
    faces = [(3 * i + j, 3 * i + j + 1, 3 * i + j + 4, 3 * i + j + 3)
             for i in range(n) for j in (0, 1)]  # fmt: skip
    b.add(points, faces, True, "body/leaves")


ASSET = Asset(
    "tree",
    build,
    {"broad": Tree(3.6, 1.25, "round", 22), "tall": Tree(4.4, 0.95, "round", 18),
     "fir": Tree(3.8, 1.05, "fir"), "palm": Tree(3.8, 1.35, "palm"),
     "young": Tree(2.2, 0.7, "round", 12)},
    colours=("green", "orange", "yellow", "red"),
    synonyms={"palm tree": ("palm",), "palm": ("palm",), "fir tree": ("fir",), "fir": ("fir",)},
    grounded=True,
    places=("outdoors",),
)  # fmt: skip
