# SPDX-License-Identifier: Apache-2.0
"""Meshes of the assets, built once per process: what Blender shows and what rays are cast at."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import bmesh
import bpy
import imports
from assets import PLAIN, Builder, catalogue, draft
from mathutils.bvhtree import BVHTree

SMOOTHING = 4
"""Passes of smoothing over a fused skin."""
TOUCHING, APART = 0.01, 0.02
"""Height and distance (metres) of the places where an animal's feet touch the ground."""
USER_FOLDERS = tuple(filter(None, os.environ.get("ABLATE2TUNE_ASSETS", "").split(os.pathsep)))


@dataclass(frozen=True)
class Built:
    """An asset in its own frame (metres).

    `corners` are the vertices that its bounds in any direction depend on, `columns` where thin
    parts stand, `surfaces` the name of each material slot's surface, or a model's own material.
    """

    mesh: bpy.types.Mesh
    corners: list[tuple[float, float, float]]
    columns: list[tuple[float, float]]
    tree: BVHTree
    surfaces: list[str | bpy.types.Material]


_built: dict[tuple[str, str, str], Built] = {}
_catalogue: dict = {}


def built(kind: str, variant: str = PLAIN, pose: str = "standing") -> Built:
    """The mesh of a kind's variant in a pose.

    Raises:
        KeyError: there is no such kind or variant.
    """
    key = (kind, variant, pose)
    if key not in _built and imports.is_model(kind):
        made = imports.imported(kind)
        made.mesh.name = "-".join(key)
        tree = BVHTree.FromPolygons(made.vertices, made.faces)
        _built[key] = Built(made.mesh, _hull(made.vertices), made.columns, tree, made.surfaces)
    elif key not in _built:
        if not _catalogue:
            _catalogue.update(catalogue(USER_FOLDERS))
        builder = draft(_catalogue[kind], variant, pose)
        for skin in builder.skins:
            points, faces = _fused(skin)
            builder.add(points, faces, True, skin.surface)
        # The plain variants keep every vertex: their cameras were computed from all of them.
        whole = variant == PLAIN
        corners = builder.vertices if whole else _hull(builder.vertices)
        mesh, surfaces = _mesh("-".join(key), builder)
        tree = BVHTree.FromPolygons(builder.vertices, builder.faces)
        columns = builder.columns + (_feet(builder.vertices) if builder.skins else [])
        _built[key] = Built(mesh, corners, columns, tree, surfaces)
    return _built[key]


def _mesh(name: str, builder: Builder) -> tuple[bpy.types.Mesh, list[str]]:
    surfaces = sorted(set(builder.surface), key=lambda s: (not s.startswith("body"), s))
    slots = {surface: slot for slot, surface in enumerate(surfaces)}
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(builder.vertices, [], builder.faces)
    mesh.polygons.foreach_set("use_smooth", builder.smooth)
    for _ in surfaces:
        mesh.materials.append(None)
    if len(surfaces) > 1:
        mesh.polygons.foreach_set("material_index", [slots[s] for s in builder.surface])
    mesh.update()
    return mesh, surfaces


def _fused(skin) -> tuple[list, list]:
    """Vertices and faces of one smooth surface around overlapping closed shapes."""
    rough = bpy.data.meshes.new("skin")
    rough.from_pydata(skin.vertices, [], skin.faces)
    body = bpy.data.objects.new("skin", rough)
    bpy.context.scene.collection.objects.link(body)
    remesh = body.modifiers.new("fuse", "REMESH")
    remesh.mode, remesh.voxel_size = "VOXEL", skin.voxel
    smooth = body.modifiers.new("smooth", "SMOOTH")
    smooth.factor, smooth.iterations = 0.5, SMOOTHING
    graph = bpy.context.evaluated_depsgraph_get()
    fused = bpy.data.meshes.new_from_object(body.evaluated_get(graph))
    points = [tuple(v.co) for v in fused.vertices]
    faces = [tuple(p.vertices) for p in fused.polygons]
    bpy.data.objects.remove(body)
    bpy.data.meshes.remove(rough)
    bpy.data.meshes.remove(fused)
    return points, faces


def _feet(points: list) -> list[tuple[float, float]]:
    """Where an animal touches the ground: places of its lowest points, some apart."""
    lowest = min(z for *_, z in points) + TOUCHING
    found: list[tuple[float, float]] = []
    for x, y, z in points:
        if z <= lowest and all(math.hypot(x - u, y - v) >= APART for u, v in found):
            found.append((x, y))
    return found


def _hull(points: list) -> list[tuple[float, float, float]]:
    """The corners of the convex hull."""
    shape = bmesh.new()
    for point in points:
        shape.verts.new(point)
    found = bmesh.ops.convex_hull(shape, input=shape.verts, use_existing_faces=False)
    inner = set(found["geom_interior"]) | set(found["geom_unused"])
    corners = [tuple(v.co) for v in shape.verts if v not in inner]
    shape.free()
    return corners
