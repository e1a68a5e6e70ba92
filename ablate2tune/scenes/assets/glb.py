"""What a GLB file (binary glTF 2.0, the specification of the Khronos Group) holds, without Blender.

Only what can be rendered as it lies is read: triangles at rest, inside the file. Everything else is
refused with the reason, before a Blender process is started.
"""

import base64
import io
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ablate2tune.errors import UserError

MAGIC = b"glTF"
JSON_CHUNK, BINARY_CHUNK = 0x4E4F534A, 0x004E4942
TRIANGLES = (4, 5, 6)
"""Modes of primitives that are surfaces: triangles, strips, fans."""
FLOAT = 5126
INDEX_TYPES = {5121: np.uint8, 5123: np.uint16, 5125: np.uint32}
FLAT = 1e-3
"""Thickness of a model at least, as a fraction of its largest extent."""
EXPORT = "export it again as a self-contained .glb: one scene, no compression, no animation"


class Glb(NamedTuple):
    """A model's bounds as Blender shows it: x right, y away, z up, in the file's units."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]
    materials: list[str]

    @property
    def extents(self) -> tuple[float, float, float]:
        """Width, depth and height."""
        x, y, z = (b - a for a, b in zip(self.low, self.high, strict=True))
        return x, y, z


def read_glb(path: Path) -> Glb:
    """Measure a model.

    Raises:
        UserError: the file is no GLB, holds no surface or an empty one, or holds what cannot be
            rendered as it lies (compression, a skin, animation, other files).
    """
    content, binary = _chunks(path)
    try:
        _check_contents(content, path)
        _check_textures(content, binary, path)
        with np.errstate(invalid="ignore"):  # infinities are refused below
            points = list(_points(content, binary, path))
        materials = [m.get("name", "") for m in content.get("materials", [])]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise UserError(f"damaged ({error})", where=str(path), mend=EXPORT) from error
    if not points:
        raise UserError("holds no mesh", where=str(path), mend="export the object itself")
    every = np.concatenate(points)
    if not np.isfinite(every).all():
        raise UserError("has vertices at infinity", where=str(path), mend=EXPORT)
    low, high = every.min(axis=0), every.max(axis=0)
    if not len(every) or (high - low).max() <= 0:
        raise UserError("is empty: all its vertices are one point", where=str(path), mend=EXPORT)
    if (high - low).min() <= FLAT * (high - low).max():
        raise UserError(
            "is flat: rays that tell who hides whom could pass along it",
            where=str(path),
            mend="give it thickness (in Blender: the modifier Solidify) and export it again",
        )
    (x0, y0, z0), (x1, y1, z1) = low.tolist(), high.tolist()
    # glTF has y up and the front at +z; Blender turns that to z up and the front at -y.
    return Glb((x0, -z1, y0), (x1, -z0, y1), materials)


def _chunks(path: Path) -> tuple[dict[str, Any], bytes]:
    """The JSON content and the binary chunk."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=str(path)) from error
    if len(data) < 12 or data[:4] != MAGIC:
        raise UserError("is not a GLB file", where=str(path), mend=EXPORT)
    _, version, length = struct.unpack("<4sII", data[:12])
    if version != 2:
        raise UserError(f"is glTF {version}, not 2", where=str(path), mend=EXPORT)
    if length > len(data):
        raise UserError(f"is cut short: {len(data)} of {length} bytes", where=str(path))
    found: dict[int, bytes] = {}
    at = 12
    while at + 8 <= length:
        size, kind = struct.unpack("<II", data[at : at + 8])
        found.setdefault(kind, data[at + 8 : at + 8 + size])
        at += 8 + size
    try:
        content = json.loads(found[JSON_CHUNK])
    except (KeyError, ValueError) as error:
        raise UserError("is a GLB file without content", where=str(path), mend=EXPORT) from error
    if not isinstance(content, dict):
        raise UserError("is a GLB file without content", where=str(path), mend=EXPORT)
    return content, found.get(BINARY_CHUNK, b"")


def _check_contents(content: dict[str, Any], path: Path) -> None:
    reason = None
    outside = [
        part["uri"]
        for part in (*content.get("buffers", []), *content.get("images", []))
        if "uri" in part and not part["uri"].startswith("data:")
    ]
    packed = [e for e in content.get("extensionsRequired", []) if "compression" in e]
    if outside:
        reason = f"refers to another file, {outside[0]!r}"
    elif packed:
        reason = f"is compressed ({packed[0]})"
    elif content.get("skins"):
        reason = "has a skin: an armature bends it"
    elif content.get("animations"):
        reason = "is animated"
    elif len(content.get("scenes", [])) > 1:
        reason = f"holds {len(content['scenes'])} scenes"
    if reason:
        raise UserError(reason, where=str(path), mend=EXPORT)


def _check_textures(content: dict[str, Any], binary: bytes, path: Path) -> None:
    """Whether the pictures inside can be read; Blender would show magenta or black in their place.

    Raises:
        UserError: one cannot be; names it.
    """
    for number, image in enumerate(content.get("images", [])):
        if "bufferView" in image:
            view = content["bufferViews"][image["bufferView"]]
            start = view.get("byteOffset", 0)
            data = binary[start : start + view["byteLength"]]
        else:
            data = base64.b64decode(image["uri"].partition(",")[2])
        try:
            with Image.open(io.BytesIO(data)) as picture:
                picture.load()
        except (OSError, SyntaxError, ValueError) as error:
            name = image.get("name") or f"number {number}"
            raise UserError(
                f"its texture {name} cannot be read", where=str(path), mend=EXPORT
            ) from error


def _points(content: dict[str, Any], binary: bytes, path: Path) -> Iterator[np.ndarray]:
    """World positions, (n, 3), of the vertices of each placed surface, in glTF's axes."""
    nodes = content.get("nodes", [])
    children = {child for node in nodes for child in node.get("children", [])}
    waiting = [(i, np.eye(4)) for i in range(len(nodes)) if i not in children]
    seen: set[int] = set()
    while waiting:
        index, above = waiting.pop()
        if index in seen:
            raise ValueError(f"node {index} has two parents")
        seen.add(index)
        node = nodes[index]
        here = above @ _matrix(node)
        waiting.extend((child, here) for child in node.get("children", []))
        if "mesh" not in node:
            continue
        for primitive in content["meshes"][node["mesh"]]["primitives"]:
            if primitive.get("mode", 4) not in TRIANGLES:
                continue
            local = _accessor(content, binary, primitive["attributes"]["POSITION"], path)
            if "indices" in primitive:
                local = local[_indices(content, binary, primitive["indices"])]
            if len(local):
                yield local @ here[:3, :3].T + here[:3, 3]


def _matrix(node: dict[str, Any]) -> np.ndarray:
    """A node's transform, 4 x 4."""
    if "matrix" in node:
        return np.array(node["matrix"], float).reshape(4, 4).T
    x, y, z, w = node.get("rotation", (0.0, 0.0, 0.0, 1.0))
    turn = np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip
    matrix = np.eye(4)
    matrix[:3, :3] = turn * np.array(node.get("scale", (1.0, 1.0, 1.0)), float)
    matrix[:3, 3] = node.get("translation", (0.0, 0.0, 0.0))
    return matrix


def _accessor(content: dict[str, Any], binary: bytes, index: int, path: Path) -> np.ndarray:
    """Positions, (n, 3)."""
    accessor = content["accessors"][index]
    if accessor["componentType"] != FLOAT or "sparse" in accessor or "bufferView" not in accessor:
        raise UserError("packs its vertices (quantized or sparse)", where=str(path), mend=EXPORT)
    view = content["bufferViews"][accessor["bufferView"]]
    start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
    stride = view.get("byteStride", 12)
    count = accessor["count"]
    return np.ndarray((count, 3), "<f4", binary, start, (stride, 4)).astype(float)


def _indices(content: dict[str, Any], binary: bytes, index: int) -> np.ndarray:
    accessor = content["accessors"][index]
    view = content["bufferViews"][accessor["bufferView"]]
    start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
    kind = np.dtype(INDEX_TYPES[accessor["componentType"]]).newbyteorder("<")
    return np.frombuffer(binary, kind, accessor["count"], start)
