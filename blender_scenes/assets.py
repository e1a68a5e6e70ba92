# SPDX-License-Identifier: Apache-2.0
"""Procedural objects, about one metre tall and wide, standing on z = 0, centred on x = y = 0.

Add a kind by writing a function `(Builder) -> None` and naming it in `KINDS` (and its word in
`ablate2tune/scenes/vocabulary.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import bpy
from mathutils.bvhtree import BVHTree
from shapes import SEGMENTS, Builder


def ball(b: Builder) -> None:
    turns = (math.pi * i / 20 for i in range(21))
    points = [(0.5 * math.sin(t), 0.5 - 0.5 * math.cos(t)) for t in turns]
    b.lathe([(0.0, 0.0), *points[1:-1], (0.0, 1.0)])


def cube(b: Builder) -> None:
    b.block((-0.42, -0.42, 0.0), (0.42, 0.42, 0.84))


def cone(b: Builder) -> None:
    b.lathe([(0.56, 0.0), (0.0, 1.08)])
    b.disc(0.56, 0.0, upwards=False)


def cylinder(b: Builder) -> None:
    b.lathe([(0.4, 0.0), (0.4, 1.0)])
    b.disc(0.4, 1.0, upwards=True)
    b.disc(0.4, 0.0, upwards=False)


def box(b: Builder) -> None:
    """Oblong, with an overhanging lid that tells it from a cube."""
    b.block((-0.47, -0.33, 0.0), (0.47, 0.33, 0.46))
    b.block((-0.52, -0.38, 0.42), (0.52, 0.38, 0.62))


def table(b: Builder) -> None:
    b.block((-0.55, -0.43, 0.74), (0.55, 0.43, 0.82))
    for x in (-0.48, 0.48):
        for y in (-0.36, 0.36):
            b.leg(x, y, width=0.09, top=0.74)


def chair(b: Builder) -> None:
    b.block((-0.42, -0.42, 0.53), (0.42, 0.44, 0.61))
    for x in (-0.365, 0.365):
        b.leg(x, -0.365, width=0.1, top=0.53)
        b.leg(x, 0.385, width=0.1, top=0.53)
        b.block((x - 0.05, 0.36, 0.61), (x + 0.05, 0.44, 1.14))
        b.columns.append((x, 0.4))
    for low, high in ((0.95, 1.14), (0.74, 0.86)):
        b.block((-0.315, 0.375, low), (0.315, 0.425, high))
    b.columns.extend((x, 0.4) for x in (-0.2, 0.0, 0.2))


def cup(b: Builder) -> None:
    outer, inner, height, floor = 0.4, 0.34, 0.82, 0.1
    b.lathe([(0.3, 0.0), (outer, height)])
    b.lathe([(outer, height), (inner, height)])
    b.lathe([(inner, height), (0.26, floor)])
    b.disc(0.26, floor, upwards=True)
    b.disc(0.3, 0.0, upwards=False)
    b.handle(x=0.35, z=0.43, radius=0.2, thickness=0.055)
    turns = [2 * math.pi * i / SEGMENTS for i in range(SEGMENTS)]
    middle = (outer + inner) / 2
    b.columns.extend((middle * math.cos(t), middle * math.sin(t)) for t in turns)


def car(b: Builder) -> None:
    side = 0.29
    b.prism([(-0.58, 0.11), (0.56, 0.11), (0.6, 0.22), (0.57, 0.36), (-0.58, 0.4)], -side, side)
    cabin = [(-0.52, 0.39), (0.32, 0.37), (0.13, 0.66), (-0.38, 0.66)]
    b.prism(cabin, -side + 0.03, side - 0.03)
    rear, front = [(-0.44, 0.43), (-0.16, 0.43), (-0.16, 0.61), (-0.35, 0.61)], [
        (-0.1, 0.43), (0.23, 0.43), (0.11, 0.61), (-0.1, 0.61)]  # fmt: skip
    for window in (rear, front):
        b.prism(window, -side + 0.02, side - 0.02, trim=True)
    for low, high in (((0.325, 0.38), (0.15, 0.645)), ((-0.51, 0.42), (-0.395, 0.645))):
        _windscreen(b, low, high, side - 0.07)
    for x in (-0.36, 0.36):
        for y in (-0.25, 0.25):
            b.wheel(x, y, radius=0.155, width=0.12)


def _windscreen(b: Builder, low: tuple[float, float], high: tuple[float, float], y: float) -> None:
    """A slanting pane between two heights (x, z), a centimetre proud of the cabin."""
    out = math.copysign(0.012, low[0])
    (x0, z0), (x1, z1) = low, high
    corners = [(x0 + out, z0), (x1 + out, z1), (x1 - out, z1), (x0 - out, z0)]
    b.prism(corners if out > 0 else corners[::-1], -y, y, trim=True)


KINDS = {
    "ball": ball,
    "cube": cube,
    "cone": cone,
    "cylinder": cylinder,
    "box": box,
    "chair": chair,
    "table": table,
    "cup": cup,
    "car": car,
}


@dataclass(frozen=True)
class Asset:
    """A built kind in its own frame (metres): mesh, vertices, thin columns, ray-casting tree."""

    mesh: bpy.types.Mesh
    vertices: list[tuple[float, float, float]]
    columns: list[tuple[float, float]]
    tree: BVHTree


_built: dict[str, Asset] = {}


def asset(kind: str) -> Asset:
    """The asset of a kind, built once per process."""
    if kind not in _built:
        builder = Builder()
        KINDS[kind](builder)
        mesh = bpy.data.meshes.new(kind)
        mesh.from_pydata(builder.vertices, [], builder.faces)
        mesh.polygons.foreach_set("use_smooth", builder.smooth)
        mesh.materials.append(None)
        if any(builder.trim):
            mesh.materials.append(None)
            mesh.polygons.foreach_set("material_index", builder.trim)
        mesh.update()
        tree = BVHTree.FromPolygons(builder.vertices, builder.faces)
        _built[kind] = Asset(mesh, builder.vertices, builder.columns, tree)
    return _built[kind]
