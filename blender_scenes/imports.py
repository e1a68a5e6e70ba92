# SPDX-License-Identifier: Apache-2.0
"""Models of the user's own, brought in by Blender's glTF importer and normalised.

A normalised model stands on z = 0, centred on x = y = 0, at its natural size, its front at -y.
"""

from __future__ import annotations

import importlib.util
import math
import re
from dataclasses import dataclass

import bmesh
import bpy
from mathutils import Matrix
from unable import UnableError

PAINTED = "body"
"""The surface of what takes the scene's colour."""
AGREES = 0.02
"""Extents that Blender and the sampler measure differ by no more than this, of the longest."""
MOST_COLUMNS = 16
LEVEL = 0.5
"""Least vertical part of the normal of a face on which a model stands."""
LOW = 0.03
"""What lies below this fraction of the height is a foot."""

_models: dict[str, dict] = {}


@dataclass(frozen=True)
class Imported:
    """A normalised model: its mesh, what of it rays can meet, and what each material slot shows."""

    mesh: bpy.types.Mesh
    vertices: list[tuple[float, float, float]]
    faces: list[tuple[int, ...]]
    columns: list[tuple[float, float]]
    surfaces: list[str | bpy.types.Material]


def register(models: dict[str, dict]) -> None:
    """Make models known by name: `path`, `turn` (degrees), `extents` (metres) and `painted`."""
    _models.update(models)


def is_model(kind: str) -> bool:
    return kind in _models


def imported(kind: str) -> Imported:
    """Bring a registered model in.

    Raises:
        UnableError: Blender's importer is missing, or cannot read the file.
        ValueError: Blender's bounds differ from the sampler's.
    """
    model = _models[kind]
    mesh = _joined(model["path"])
    _normalise(mesh, model)
    faces = [tuple(p.vertices) for p in mesh.polygons]
    vertices = [tuple(v.co) for v in mesh.vertices]
    surfaces: list = []
    for material in mesh.materials:
        own = material is not None and not _is_named(material.name, model["painted"])
        surfaces.append(material if own else PAINTED)
    return Imported(mesh, vertices, faces, _columns(mesh), surfaces)


def _is_named(name: str, asked: str | None) -> bool:
    """Blender adds .001 and so on to a name that it has already."""
    return asked is not None and re.fullmatch(re.escape(asked) + r"(\.\d{3})?", name) is not None


def _joined(path: str) -> bpy.types.Mesh:
    """All meshes of a file as one, in the world's frame; nothing else of the file stays."""
    if importlib.util.find_spec("numpy") is None:
        raise UnableError(
            "this Blender cannot import glTF: its Python has no numpy",
            path,
            "install python3-numpy, or use another Blender",
        )
    before = set(bpy.data.objects)
    try:
        bpy.ops.import_scene.gltf(filepath=path)
    except (RuntimeError, AttributeError) as error:
        reason = str(error).strip().splitlines()
        told = reason[-1] if reason else "no reason given"
        raise UnableError(f"Blender cannot import it ({told})", path, "export it again") from error
    bpy.context.view_layer.update()
    added = [o for o in bpy.data.objects if o not in before]
    bodies = [o for o in added if o.type == "MESH" and o.data.polygons]
    if not bodies:
        raise UnableError("Blender finds no mesh in it", path, "export the object itself")
    mesh = _merged(bodies)
    for left in added:
        data = left.data
        bpy.data.objects.remove(left)
        if isinstance(data, bpy.types.Mesh) and not data.users:
            bpy.data.meshes.remove(data)
    return mesh


def _merged(bodies: list) -> bpy.types.Mesh:
    """One mesh of objects' meshes where they stand, without vertices of no face."""
    shape, materials = bmesh.new(), []
    for body in bodies:
        part = body.data.copy()
        part.transform(body.matrix_world)
        if body.matrix_world.determinant() < 0:
            part.flip_normals()
        before = len(shape.faces)
        shape.from_mesh(part)
        shape.faces.ensure_lookup_table()
        for face in shape.faces[before:]:
            face.material_index += len(materials)
        materials.extend(list(part.materials) or [None])
        bpy.data.meshes.remove(part)
    loose = [v for v in shape.verts if not v.link_faces]
    bmesh.ops.delete(shape, geom=loose, context="VERTS")
    mesh = bpy.data.meshes.new("model")
    shape.to_mesh(mesh)
    shape.free()
    for material in materials:
        mesh.materials.append(material)
    return mesh


def _normalise(mesh: bpy.types.Mesh, model: dict) -> None:
    mesh.transform(Matrix.Rotation(math.radians(model["turn"]), 4, "Z"))
    low, high = _bounds(mesh)
    longest = max(model["extents"])
    scale = longest / max(b - a for a, b in zip(low, high, strict=True))
    middle = ((low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2])
    mesh.transform(Matrix.Scale(scale, 4) @ Matrix.Translation([-c for c in middle]))
    measured = [scale * (b - a) for a, b in zip(low, high, strict=True)]
    if any(abs(m - e) > AGREES * longest for m, e in zip(measured, model["extents"], strict=True)):
        told = [" x ".join(f"{m:.3f}" for m in row) for row in (measured, model["extents"])]
        raise ValueError(f"{model['path']}: Blender measures {told[0]} m, the file says {told[1]}")
    mesh.update()


def _bounds(mesh: bpy.types.Mesh) -> tuple[list[float], list[float]]:
    points = [v.co for v in mesh.vertices]
    return [min(c) for c in zip(*points)], [max(c) for c in zip(*points)]  # noqa: B905


def _columns(mesh: bpy.types.Mesh) -> list[tuple[float, float]]:
    """Middles of the lowest faces, spread around: a vertical ray there meets the model."""
    height = max(v.co.z for v in mesh.vertices)
    low = [
        p.center for p in mesh.polygons if p.center.z <= LOW * height and abs(p.normal.z) > LEVEL
    ]
    around = sorted((math.atan2(c.y, c.x), c.x, c.y) for c in low)
    step = max(1, len(around) // MOST_COLUMNS)
    return [(x, y) for _, x, y in around[::step][:MOST_COLUMNS]]
