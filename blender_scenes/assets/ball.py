# SPDX-License-Identifier: Apache-2.0
"""Balls: plain, with a belt, beach ball, football."""

from __future__ import annotations

import math
from dataclasses import dataclass

from . import Asset, Builder


@dataclass(frozen=True)
class Ball:
    """`radius` in metres; `pattern`: none, belt, beach or football."""

    radius: float
    pattern: str


def plain(b: Builder) -> None:
    turns = (math.pi * i / 20 for i in range(21))
    points = [(0.5 * math.sin(t), 0.5 - 0.5 * math.cos(t)) for t in turns]
    b.lathe([(0.0, 0.0), *points[1:-1], (0.0, 1.0)])


def build(b: Builder, ball: Ball, pose: str) -> None:
    r = ball.radius
    if ball.pattern == "beach":
        for wedge in range(6):
            _wedge(b, r, wedge, "body/gloss" if wedge % 2 == 0 else "body/mark")
        return
    b.ellipsoid((0, 0, r), (r, r, r), "body/gloss", segments=32)
    if ball.pattern == "belt":
        belt = [0.36 * i / 6 - 0.18 for i in range(7)]
        b.lathe([(1.004 * r * math.cos(t), r + 1.004 * r * math.sin(t)) for t in belt],
                surface="body/mark")  # fmt: skip
    elif ball.pattern == "football":
        _patches(b, r)


def _wedge(b: Builder, r: float, wedge: int, surface: str) -> None:
    rows, columns = 16, 6
    points = []
    for i in range(rows + 1):
        low = math.pi * i / rows
        for j in range(columns + 1):
            t = math.pi / 3 * (wedge + j / columns)
            points.append((r * math.sin(low) * math.cos(t), r * math.sin(low) * math.sin(t),
                           r - r * math.cos(low)))  # fmt: skip
    n = columns + 1
    faces = [(i * n + j, i * n + j + 1, (i + 1) * n + j + 1, (i + 1) * n + j)
             for i in range(rows) for j in range(columns)]  # fmt: skip
    b.add(points, faces, True, surface)


def _patches(b: Builder, r: float) -> None:
    """Dark pentagons around the twelve corners of an icosahedron."""
    golden = (1 + math.sqrt(5)) / 2
    corners = [p for s in (1, -1) for t in (golden, -golden)
               for p in ((0, s, t), (s, t, 0), (t, 0, s))]  # fmt: skip
    for corner in corners:
        length = math.sqrt(sum(c * c for c in corner))
        x, y, z = (c / length for c in corner)
        helper = (0.0, 0.0, 1.0) if abs(z) < 0.9 else (1.0, 0.0, 0.0)
        u = _unit((y * helper[2] - z * helper[1], z * helper[0] - x * helper[2],
                   x * helper[1] - y * helper[0]))  # fmt: skip
        v = (y * u[2] - z * u[1], z * u[0] - x * u[2], x * u[1] - y * u[0])
        ring = []
        for k in range(5):
            t = 2 * math.pi * k / 5
            p = [c + 0.36 * (math.cos(t) * a + math.sin(t) * w)
                 for c, a, w in zip((x, y, z), u, v, strict=True)]  # fmt: skip
            ring.append(_unit(p))
        middle = (x, y, z)
        points = [tuple(1.03 * r * c for c in p) for p in (middle, *ring)]
        points = [(px, py, pz + r) for px, py, pz in points]
        b.add(points, [(0, 1 + k, 1 + (k + 1) % 5) for k in range(5)], False, "ink")


def _unit(v) -> tuple[float, ...]:
    length = math.sqrt(sum(c * c for c in v))
    return tuple(c / length for c in v)


ASSET = Asset(
    "ball",
    build,
    {"belted": Ball(0.14, "belt"), "beach": Ball(0.2, "beach"), "football": Ball(0.11, "football"),
     "smooth": Ball(0.16, "none")},
    floats=True,
    plain=plain,
    seconds={"belted": "body/mark", "beach": "body/mark", "football": "black"},
    synonyms={"football": ("football",), "soccer ball": ("football",), "beach ball": ("beach",)},
)  # fmt: skip
