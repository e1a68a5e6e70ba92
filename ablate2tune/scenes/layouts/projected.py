"""What the camera would see of a proposed group, by the shapes of its objects.

Boxes are those that a render's sidecars have, but for what the worker rejects: enough to see what
sizes and places tell (see `checking.single_cues`), in some milliseconds instead of a render.
"""

import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import ConvexHull

from ablate2tune.scenes.shapes.height_maps import height_map
from ablate2tune.scenes.shapes.shapes import draft

FILM = 36.0
"""Width of the camera's film (millimetres)."""
ROUNDS = 12
"""Steps towards the camera that the points fill; each halves the error, at least."""


@lru_cache(maxsize=512)
def _corners(kind: str, folder: Path | None, variant: str, pose: str) -> np.ndarray:
    """Corners of a look's convex hull at natural size: (n, 3), metres."""
    built = draft(kind, folder, variant, pose)
    points = np.concatenate([np.array(p.vertices) for p in (built, *built.skins) if p.vertices])
    return points[ConvexHull(points).vertices]


def outline(
    group: Mapping[str, Any], twin: Mapping[str, Any], key: str, folder: Path | None = None
) -> np.ndarray:
    """Corners of an object's convex hull in the world: (n, 3), metres."""
    made, place = group["objects"][key], twin["places"][key]
    x, y, z = _corners(made["kind"], folder, made["variant"], made["pose"]).T
    c, s = math.cos(math.radians(made["yaw"])), math.sin(math.radians(made["yaw"]))
    scale = made["scale"] * place.get("growth", 1.0)
    points = np.stack([c * x - s * y, s * x + c * y, z], axis=-1) * scale
    return points + np.array([place["x"], place["y"], _base(group, twin, key, folder)])


def _base(group: Mapping[str, Any], twin: Mapping[str, Any], key: str, folder: Path | None):
    """Height of an object's lower side (metres)."""
    place = twin["places"][key]
    if not place["on"]:
        return place["lift"]
    below, under = group["objects"][place["on"]], twin["places"][place["on"]]
    scale = below["scale"] * under.get("growth", 1.0)
    c, s = math.cos(math.radians(below["yaw"])), math.sin(math.radians(below["yaw"]))
    dx, dy = place["x"] - under["x"], place["y"] - under["y"]
    held = height_map(below["kind"], below["variant"], below["pose"], folder)
    rows, columns = held.top.shape
    column = int((c * dx + s * dy) / scale / held.cell + columns / 2)
    row = int((c * dy - s * dx) / scale / held.cell + rows / 2)
    top = held.top[min(max(row, 0), rows - 1), min(max(column, 0), columns - 1)]
    resting = scale * max(0.0, top) + _base(group, twin, place["on"], folder)
    return resting + place["lift"]


def projected_boxes(
    group: Mapping[str, Any], folder: Path | None = None
) -> list[dict[str, np.ndarray]]:
    """Per twin, each object's box (left, top, right, bottom; fractions of the frame).

    The frame is filled by what the relation is about, as in `blender_scenes`, without a `focus`.
    """
    outlines = [
        {key: outline(group, twin, key, folder) for key in twin["places"]}
        for twin in group["twins"]
    ]
    cameras = _cameras(group, outlines)
    return [
        {key: camera.box(points) for key, points in twin.items()}
        for camera, twin in zip(cameras, outlines, strict=True)
    ]


class _Camera:
    def __init__(self, spec: Mapping[str, Any]):
        e, a = math.radians(spec["elevation"]), math.radians(spec["azimuth"])
        forward = np.array([-math.sin(a) * math.cos(e), math.cos(a) * math.cos(e), -math.sin(e)])
        right = np.array([math.cos(a), math.sin(a), 0.0])
        self.axes = np.stack([right, -np.cross(right, forward), forward])
        self.spec, self.zoom = spec, spec["lens"] / FILM
        self.place = np.array([0.0, 0.0, -8.0])

    def seen(self, points: np.ndarray) -> np.ndarray:
        """Tangents times zoom, downwards positive, from the middle of the frame: (n, 2)."""
        moved = points @ self.axes.T - self.place
        return self.zoom * moved[:, :2] / moved[:, 2:]

    def fill(self, points: np.ndarray, distance: float | None = None) -> "_Camera":
        for _ in range(ROUNDS):
            low, high = self.seen(points).min(axis=0), self.seen(points).max(axis=0)
            away = -self.place[2]
            offset = np.array(self.spec["offset"]) * (1, -1)  # it counts upwards
            self.place[:2] += away / self.zoom * ((low + high) / 2 - offset)
            wanted = away * max(high - low) / self.spec["fill"]
            self.place[2] = -(distance or wanted)
        return self

    def box(self, points: np.ndarray) -> np.ndarray:
        seen = self.seen(points)
        return np.concatenate([seen.min(axis=0), seen.max(axis=0)]) + 0.5


def _cameras(group: Mapping[str, Any], outlines: list[dict[str, np.ndarray]]) -> list[_Camera]:
    framed = [
        np.concatenate([points[key] for key in framed_keys(twin)])
        for twin, points in zip(group["twins"], outlines, strict=True)
    ]
    if "camera" not in group:
        return [
            _Camera(twin["camera"]).fill(points)
            for twin, points in zip(group["twins"], framed, strict=True)
        ]
    spec = group["camera"]
    if not spec.get("each"):
        return [_Camera(spec).fill(np.concatenate(framed))] * len(framed)
    distance = max(-_Camera(spec).fill(points).place[2] for points in framed)
    return [_Camera(spec).fill(points, distance) for points in framed]


def framed_keys(twin: Mapping[str, Any]) -> list[str]:
    """What the frame holds: the objects of the relation and what they stand on."""
    named = [twin[role] for role in ("subject", "object", "third") if role in twin]
    supports = [twin["places"][key]["on"] for key in named]
    return list(dict.fromkeys([*named, *filter(None, supports)]))
