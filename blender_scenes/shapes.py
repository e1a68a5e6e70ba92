# SPDX-License-Identifier: Apache-2.0
"""Building meshes from vertices and faces alone: no mesh operators, so any Blender can run it."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field

SEGMENTS = 40
Point = tuple[float, float, float]


@dataclass
class Builder:
    """Vertices (metres), faces (vertex indices), which faces are smooth, which are trim.

    Trim is what has its own dark colour whatever the object's colour is: tyres and windows.
    `columns` are points (x, y) at which thin parts stand (legs, rims, backs); a grid of vertical
    rays could miss them, so contact is measured there too.
    """

    vertices: list[Point] = field(default_factory=list)
    faces: list[tuple[int, ...]] = field(default_factory=list)
    smooth: list[bool] = field(default_factory=list)
    trim: list[bool] = field(default_factory=list)
    columns: list[tuple[float, float]] = field(default_factory=list)

    def add(self, vertices, faces, smooth: bool, trim: bool = False) -> None:
        start = len(self.vertices)
        self.vertices.extend(vertices)
        self.faces.extend(tuple(start + i for i in face) for face in faces)
        self.smooth.extend([smooth] * len(faces))
        self.trim.extend([trim] * len(faces))

    def ring(self, radius: float, z: float) -> list[tuple[float, float, float]]:
        turns = (2 * math.pi * i / SEGMENTS for i in range(SEGMENTS))
        return [(radius * math.cos(t), radius * math.sin(t), z) for t in turns]

    def lathe(self, profile: list[tuple[float, float]], smooth: bool = True) -> None:
        """Turn a profile of (radius, z), listed upwards on the outside, about the z axis."""
        rows = [self.ring(r, z) if r > 0 else [(0.0, 0.0, z)] for r, z in profile]
        vertices = [v for row in rows for v in row]
        faces, start = [], 0
        for low, high in itertools.pairwise(rows):
            above = start + len(low)
            for i in range(SEGMENTS):
                j = (i + 1) % SEGMENTS
                if len(low) == 1:
                    faces.append((start, above + j, above + i))
                elif len(high) == 1:
                    faces.append((start + i, start + j, above))
                else:
                    faces.append((start + i, start + j, above + j, above + i))
            start = above
        self.add(vertices, faces, smooth)

    def disc(self, radius: float, z: float, upwards: bool) -> None:
        """A flat cap with its own vertices, so that shading does not round the rim."""
        turn = range(SEGMENTS) if upwards else reversed(range(SEGMENTS))
        self.add(self.ring(radius, z), [tuple(turn)], smooth=False)

    def block(self, low: tuple[float, float, float], high: tuple[float, float, float]) -> None:
        """An axis-parallel box between two corners."""
        corners = [(x, y, z) for z in (low[2], high[2]) for y in (low[1], high[1])
                   for x in (low[0], high[0])]  # fmt: skip
        faces = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (1, 3, 7, 5), (3, 2, 6, 7), (2, 0, 4, 6)]
        self.add(corners, faces, smooth=False)

    def leg(self, x: float, y: float, width: float, top: float) -> None:
        """A square post from the ground to a height, centred on (x, y)."""
        h = width / 2
        self.block((x - h, y - h, 0.0), (x + h, y + h, top))
        self.columns.append((x, y))

    def prism(self, profile, y0: float, y1: float, trim: bool = False) -> None:
        """A convex profile of (x, z), anticlockwise seen from -y, stretched from y0 to y1."""
        n = len(profile)
        vertices = [(x, y, z) for y in (y0, y1) for x, z in profile]
        sides = [(i, n + i, n + (i + 1) % n, (i + 1) % n) for i in range(n)]
        caps = [tuple(range(n)), tuple(reversed(range(n, 2 * n)))]
        self.add(vertices, sides + caps, smooth=False, trim=trim)

    def wheel(self, x: float, y: float, radius: float, width: float) -> None:
        """A tyre that stands on the ground and rolls along x."""
        turns = [2 * math.pi * i / 24 for i in range(24)]
        profile = [(x + radius * math.cos(t), radius + radius * math.sin(t)) for t in turns]
        self.prism(profile, y - width / 2, y + width / 2, trim=True)
        self.columns.append((x, y))

    def handle(self, x: float, z: float, radius: float, thickness: float) -> None:
        """Half a ring in the plane y = 0, bulging towards +x, with a round section."""
        around, along = 12, 16
        vertices = []
        for i in range(along + 1):
            turn = math.pi * (i / along - 0.5)
            for j in range(around):
                side = 2 * math.pi * j / around
                r = radius + thickness * math.cos(side)
                across = thickness * math.sin(side)
                vertices.append((x + r * math.cos(turn), across, z + r * math.sin(turn)))
        faces = [
            (i * around + j, (i + 1) * around + j, (i + 1) * around + k, i * around + k)
            for i in range(along)
            for j, k in ((j, (j + 1) % around) for j in range(around))
        ]
        self.add(vertices, faces, smooth=True)
