# SPDX-License-Identifier: Apache-2.0
"""Building meshes from vertices and faces alone: no mesh operators, so any Blender can run it."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

SEGMENTS = 40
BODY = "body"
"""The surface that takes the object's colour."""
Point = tuple[float, float, float]
Bead = tuple[float, float, float, float]
"""A point of a chain and its radius there (metres)."""


@dataclass
class Builder:
    """Vertices (metres), faces (vertex indices), which faces are smooth, each face's surface.

    A surface is a name from `_surfaces.py`; `body` and names that begin with `body/` follow the
    object's colour. `skins` are closed shapes that Blender fuses into one smooth surface.
    `columns` are points (x, y) at which thin parts stand (legs, rims, backs); a grid of vertical
    rays could miss them, so contact is measured there too.
    """

    vertices: list[Point] = field(default_factory=list)
    faces: list[tuple[int, ...]] = field(default_factory=list)
    smooth: list[bool] = field(default_factory=list)
    surface: list[str] = field(default_factory=list)
    columns: list[tuple[float, float]] = field(default_factory=list)
    skins: list[Skin] = field(default_factory=list)
    _moves: list[tuple[tuple[Point, Point, Point], Point]] = field(default_factory=list)

    def add(self, vertices, faces, smooth: bool, surface: str = BODY) -> None:
        start = len(self.vertices)
        for matrix, shift in reversed(self._moves):
            vertices = [_moved(v, matrix, shift) for v in vertices]
        self.vertices.extend(vertices)
        self.faces.extend(tuple(start + i for i in face) for face in faces)
        self.smooth.extend([smooth] * len(faces))
        self.surface.extend([surface] * len(faces))

    def extents(self) -> tuple[tuple[float, float], ...]:
        """Bounds (low, high) of everything built so far along x, y and z (metres)."""
        points = itertools.chain(self.vertices, *(skin.vertices for skin in self.skins))
        return tuple((min(c), max(c)) for c in zip(*points, strict=True))

    def settle(self) -> None:
        """Shift everything to stand on z = 0, its bounds centred on x = y = 0."""
        (x0, x1), (y0, y1), (z0, _) = self.extents()
        dx, dy = (x0 + x1) / 2, (y0 + y1) / 2
        for points in (self.vertices, *(skin.vertices for skin in self.skins)):
            points[:] = [(x - dx, y - dy, z - z0) for x, y, z in points]
        self.columns = [(x - dx, y - dy) for x, y in self.columns]

    @contextlib.contextmanager
    def moved(self, to: Point = (0, 0, 0), turn: Point = (0, 0, 0), size: float = 1.0) -> Iterator:
        """Scale, turn (degrees about x, then y, then z) and shift what is built in the block."""
        self._moves.append((_turned(turn, size), to))
        try:
            yield
        finally:
            self._moves.pop()

    def skin(self, chains: list[list[Bead]], voxel: float, surface: str = BODY) -> None:
        """Fuse chains of round limbs into one smooth surface (`voxel`: grid spacing, metres)."""
        parts = Builder()
        parts._moves = self._moves
        for chain in chains:
            parts.tube(chain, segments=16)
        self.skins.append(Skin(parts.vertices, parts.faces, voxel, surface))

    def tube(self, beads: list[Bead], surface: str = BODY, segments: int = 12) -> None:
        """A chain of spheres joined by cones."""
        for low, high in itertools.pairwise(beads):
            self.rod(low[:3], high[:3], low[3], high[3], surface, segments)
        for x, y, z, r in beads:
            self.ellipsoid((x, y, z), (r, r, r), surface, segments)

    def rod(self, start: Point, end: Point, r0: float, r1: float, surface: str = BODY,
            segments: int = 16) -> None:  # fmt: skip
        """A round rod or cone between two points, closed at both ends."""
        axis = [e - s for s, e in zip(start, end, strict=True)]
        length = math.sqrt(sum(a * a for a in axis)) or 1e-9
        axis = [a / length for a in axis]
        helper = (1.0, 0.0, 0.0) if abs(axis[0]) < 0.9 else (0.0, 1.0, 0.0)
        u = _unit(_cross(axis, helper))
        v = _cross(axis, u)
        rings = [
            [tuple(c + r * (math.cos(t) * p + math.sin(t) * q)
                   for c, p, q in zip(centre, u, v, strict=True)) for t in _turns(segments)]
            for centre, r in ((start, r0), (end, max(r1, 1e-4)))
        ]  # fmt: skip
        n = segments
        sides = [(i, (i + 1) % n, n + (i + 1) % n, n + i) for i in range(n)]
        self.add(rings[0] + rings[1], sides, True, surface)
        self.add(rings[0], [tuple(reversed(range(n)))], False, surface)
        self.add(rings[1], [tuple(range(n))], False, surface)

    def ellipsoid(self, centre: Point, radii: Point, surface: str = BODY, segments: int = 20
                  ) -> None:  # fmt: skip
        rows = max(6, segments // 2)
        x, y, z = centre
        points = [(x, y, z - radii[2])]
        for i in range(1, rows):
            low = math.pi * i / rows
            points += [(x + radii[0] * math.sin(low) * math.cos(t),
                        y + radii[1] * math.sin(low) * math.sin(t),
                        z - radii[2] * math.cos(low)) for t in _turns(segments)]  # fmt: skip
        points.append((x, y, z + radii[2]))
        n, top = segments, len(points) - 1
        faces = [(0, 1 + (i + 1) % n, 1 + i) for i in range(n)]
        for row in range(rows - 2):
            a, b = 1 + row * n, 1 + (row + 1) * n
            faces += [(a + i, a + (i + 1) % n, b + (i + 1) % n, b + i) for i in range(n)]
        last = top - n
        faces += [(last + i, last + (i + 1) % n, top) for i in range(n)]
        self.add(points, faces, True, surface)

    def slab(self, low: Point, high: Point, surface: str = BODY, bevel: float = 0.01) -> None:
        """A box between two corners with its edges cut off by `bevel` metres."""
        bevel = min(bevel, *(0.4 * (h - w) for w, h in zip(low, high, strict=True)))
        sides = (
            ((low[0], 1), (high[0], -1)),
            ((low[1], 1), (high[1], -1)),
            ((low[2], 1), (high[2], -1)),
        )
        points, where = [], {}
        for corner in itertools.product((0, 1), repeat=3):
            for axis in range(3):
                where[corner, axis] = len(points)
                points.append(tuple(
                    sides[k][c][0] + (0 if k == axis else sides[k][c][1] * bevel)
                    for k, c in enumerate(corner)
                ))  # fmt: skip
        centre = tuple((w + h) / 2 for w, h in zip(low, high, strict=True))
        faces = [tuple(where[c, a] for a in range(3)) for c in itertools.product((0, 1), repeat=3)]
        for axis in range(3):
            others = [k for k in range(3) if k != axis]
            for side in (0, 1):
                ring = [_corner(axis, side, others, p) for p in ((0, 0), (1, 0), (1, 1), (0, 1))]
                faces.append(tuple(where[c, axis] for c in ring))
            for p in ((0, 0), (0, 1), (1, 0), (1, 1)):
                a, b = (_corner(axis, s, others, p) for s in (0, 1))
                j, k = others
                faces.append((where[a, j], where[b, j], where[b, k], where[a, k]))
        self.add(points, [_outwards(f, points, centre) for f in faces], False, surface)

    def ring(self, radius: float, z: float) -> list[tuple[float, float, float]]:
        turns = (2 * math.pi * i / SEGMENTS for i in range(SEGMENTS))
        return [(radius * math.cos(t), radius * math.sin(t), z) for t in turns]

    def lathe(self, profile: list[tuple[float, float]], smooth: bool = True,
              surface: str = BODY) -> None:  # fmt: skip
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
        self.add(vertices, faces, smooth, surface)

    def disc(self, radius: float, z: float, upwards: bool, surface: str = BODY) -> None:
        """A flat cap with its own vertices, so that shading does not round the rim."""
        turn = range(SEGMENTS) if upwards else reversed(range(SEGMENTS))
        self.add(self.ring(radius, z), [tuple(turn)], False, surface)

    def block(self, low: Point, high: Point, surface: str = BODY) -> None:
        """An axis-parallel box between two corners."""
        corners = [(x, y, z) for z in (low[2], high[2]) for y in (low[1], high[1])
                   for x in (low[0], high[0])]  # fmt: skip
        faces = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (1, 3, 7, 5), (3, 2, 6, 7), (2, 0, 4, 6)]
        self.add(corners, faces, False, surface)

    def leg(self, x: float, y: float, width: float, top: float) -> None:
        """A square post from the ground to a height, centred on (x, y)."""
        h = width / 2
        self.block((x - h, y - h, 0.0), (x + h, y + h, top))
        self.columns.append((x, y))

    def prism(self, profile, y0: float, y1: float, surface: str = BODY) -> None:
        """A convex profile of (x, z), anticlockwise seen from -y, stretched from y0 to y1."""
        n = len(profile)
        vertices = [(x, y, z) for y in (y0, y1) for x, z in profile]
        sides = [(i, n + i, n + (i + 1) % n, (i + 1) % n) for i in range(n)]
        caps = [tuple(range(n)), tuple(reversed(range(n, 2 * n)))]
        self.add(vertices, sides + caps, False, surface)

    def wheel(self, x: float, y: float, radius: float, width: float) -> None:
        """A tyre that stands on the ground and rolls along x."""
        turns = [2 * math.pi * i / 24 for i in range(24)]
        profile = [(x + radius * math.cos(t), radius + radius * math.sin(t)) for t in turns]
        self.prism(profile, y - width / 2, y + width / 2, "trim")
        self.columns.append((x, y))

    def handle(self, x: float, z: float, radius: float, thickness: float,
               surface: str = BODY) -> None:  # fmt: skip
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
        self.add(vertices, faces, True, surface)


@dataclass(frozen=True)
class Skin:
    """Closed, overlapping shapes that become one surface; `voxel` is the grid spacing (metres)."""

    vertices: list[Point]
    faces: list[tuple[int, ...]]
    voxel: float
    surface: str


def _turns(segments: int) -> list[float]:
    return [2 * math.pi * i / segments for i in range(segments)]


def _cross(a, b) -> Point:
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def _unit(v) -> Point:
    length = math.sqrt(sum(c * c for c in v))
    return (v[0] / length, v[1] / length, v[2] / length)


def _corner(axis: int, side: int, others: list[int], place: tuple[int, int]) -> tuple[int, ...]:
    corner = {axis: side, others[0]: place[0], others[1]: place[1]}
    return tuple(corner[k] for k in range(3))


def _outwards(face: tuple[int, ...], points, centre) -> tuple[int, ...]:
    """The face, listed anticlockwise seen from outside a convex shape."""
    a, b, c = (points[i] for i in face[:3])
    normal = _cross([q - p for p, q in zip(a, b, strict=True)],
                    [q - p for p, q in zip(a, c, strict=True)])  # fmt: skip
    out = sum(n * (p - m) for n, p, m in zip(normal, a, centre, strict=True))
    return face if out > 0 else tuple(reversed(face))


def _turned(turn: Point, size: float) -> tuple[Point, Point, Point]:
    """Rows of the matrix that turns about x, then y, then z (degrees) and scales."""
    (a, b, c), (p, q, r) = ([f(math.radians(t)) * 1.0 for t in turn] for f in (math.cos, math.sin))
    rows = (
        (b * c, p * q * c - a * r, a * q * c + p * r),
        (b * r, p * q * r + a * c, a * q * r - p * c),
        (-q, p * b, a * b),
    )
    return tuple(tuple(size * v for v in row) for row in rows)


def _moved(v: Point, matrix, shift: Point) -> Point:
    return tuple(
        sum(m * x for m, x in zip(row, v, strict=True)) + s
        for row, s in zip(matrix, shift, strict=True)
    )
