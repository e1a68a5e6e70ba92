"""GLB models, Radiance panoramas and their notes, written byte by byte: no Blender, no binaries."""

import json
import struct

import numpy as np
import yaml

CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], "<f4")
FACES = np.array([
    [0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
    [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3],
], "<u2")  # fmt: skip
"""Triangles of a unit cube, anticlockwise from outside."""


def glb(nodes, colours=(), **changes):
    """The bytes of a GLB file whose nodes show unit cubes from (0, 0, 0) to (1, 1, 1), y up.

    Args:
        nodes: glTF nodes; mesh 0 has no material, mesh k the k-th colour.
        colours: linear RGB of materials named "paint 1", "paint 2", ...
        changes: further keys of the JSON, or others in the place of those made here.
    """
    binary = CORNERS.tobytes() + FACES.tobytes()
    primitive = {"attributes": {"POSITION": 0}, "indices": 1}
    content = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": list(range(len(nodes)))}],
        "nodes": nodes,
        "meshes": [
            {"primitives": [primitive]},
            *({"primitives": [{**primitive, "material": k}]} for k in range(len(colours))),
        ],
        "materials": [
            {"name": f"paint {k}", "pbrMetallicRoughness": {"baseColorFactor": [*rgb, 1],
                                                            "metallicFactor": 0}}
            for k, rgb in enumerate(colours, start=1)
        ],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 8, "type": "VEC3",
             "min": [0, 0, 0], "max": [1, 1, 1]},
            {"bufferView": 1, "componentType": 5123, "count": FACES.size, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": CORNERS.nbytes},
            {"buffer": 0, "byteOffset": CORNERS.nbytes, "byteLength": FACES.nbytes},
        ],
        "buffers": [{"byteLength": len(binary)}],
        **changes,
    }  # fmt: skip
    if not content["materials"]:
        del content["materials"]
    return packed(json.dumps(content).encode(), binary)


def packed(text, binary):
    """A GLB file of its two chunks."""
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    length = 12 + 8 + len(text) + 8 + len(binary)
    return (
        struct.pack("<4sII", b"glTF", 2, length)
        + struct.pack("<II", len(text), 0x4E4F534A) + text
        + struct.pack("<II", len(binary), 0x004E4942) + binary
    )  # fmt: skip


def box(wide, high, deep, at=(0, 0, 0), mesh=0):
    """A node: a block centred on x and z, its base at y = 0, in glTF's axes."""
    x, y, z = at
    return {
        "mesh": mesh,
        "scale": [wide, high, deep],
        "translation": [x - wide / 2, y, z - deep / 2],
    }


def add(folder, file, data, **note):
    """Write a file and its note into a folder; returns the file's path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_bytes(data)
    (folder / file).with_suffix(".yaml").write_text(yaml.safe_dump(note))
    return folder / file


def hdr(height=16, top=(1.0, 1.0, 1.0), bottom=(0.1, 0.1, 0.1)):
    """A Radiance picture twice as wide as high, one colour above the horizon and one below."""
    header = f"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y {height} +X {2 * height}\n".encode()
    rows = [top] * (height // 2) + [bottom] * (height - height // 2)
    pixels = np.array([[rgb] * 2 * height for rgb in rows], float)
    mantissa, exponent = np.frexp(pixels.max(axis=-1))
    shared = np.ldexp(1.0, exponent)[..., None]
    rgbe = np.concatenate([pixels / shared * 256, (exponent + 128)[..., None]], axis=-1)
    assert (mantissa >= 0.5).all()
    return header + rgbe.clip(0, 255).astype(np.uint8).tobytes()


def exr(width, height):
    """The header of an OpenEXR file."""

    def attribute(name, kind, value):
        return name + b"\0" + kind + b"\0" + struct.pack("<i", len(value)) + value

    return (
        b"\x76\x2f\x31\x01" + struct.pack("<i", 2)
        + attribute(b"compression", b"compression", b"\0")
        + attribute(b"dataWindow", b"box2i", struct.pack("<4i", 0, 0, width - 1, height - 1))
        + b"\0"
    )  # fmt: skip


POST = """
from dataclasses import dataclass
from . import Asset, Builder

@dataclass(frozen=True)
class Post:
    height: float

def build(b: Builder, post: Post, pose: str) -> None:
    b.slab((0, 0, 0), (0.1, 0.1, post.height))

ASSET = Asset({name!r}, build, {{"low": Post(0.6)}})
"""
"""A user's asset; `name` is to be filled in."""
