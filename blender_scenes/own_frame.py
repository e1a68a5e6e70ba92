# SPDX-License-Identifier: Apache-2.0
"""Relations by the second object's own front, for `frame: object`: pure arithmetic, no Blender.

An object faces along -y of its mesh, turned by its yaw. Its left is the left of someone who stands
in its place and looks where it looks: of what faces the camera, the left is at the camera's right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from relations import View, overlap

AXES = {
    "in front of": ("ahead", 1),
    "behind": ("ahead", -1),
    "left of": ("left", 1),
    "right of": ("left", -1),
}
"""Axis of the second object along which the first lies, and to which side."""
RELATIONS = tuple(AXES)


@dataclass(frozen=True)
class Own:
    """Extents of an object along the second object's front, its left and the vertical (metres)."""

    ahead: tuple[float, float]
    left: tuple[float, float]
    up: tuple[float, float]


def front(yaw: float) -> tuple[float, float]:
    """Where an object with this yaw (radians) faces: a unit vector on the ground."""
    return math.sin(yaw), -math.cos(yaw)


def own_extents(points, yaw: float) -> Own:
    """Extents of world points along the axes of an object with this yaw (radians)."""
    fx, fy = front(yaw)
    ahead = [fx * x + fy * y for x, y, _ in points]
    left = [fx * y - fy * x for x, y, _ in points]
    up = [z for _, _, z in points]
    return Own((min(ahead), max(ahead)), (min(left), max(left)), (min(up), max(up)))


def own_slacks(
    relation: str, first: Own, second: Own, views: tuple[View, View]
) -> dict[str, float]:
    """Signed slack of each threshold of `first RELATION second` by the second's own front.

    The first lies wholly beyond the second's front (back, left, right), not far from it, and half
    of the narrower is in line with the other.
    """
    axis, side = AXES[relation]
    across = "left" if axis == "ahead" else "ahead"
    a, b = getattr(first, axis), getattr(second, axis)
    p, q = getattr(first, across), getattr(second, across)
    gap = a[0] - b[1] if side > 0 else b[0] - a[1]
    breadths = [max(_length(o.ahead), _length(o.left)) for o in (first, second)]
    return {
        "own_gap": gap - 0.03,
        "own_near": sum(breadths) / 2 - gap,
        "own_lane": overlap(p, q) / min(_length(p), _length(q)) - 0.50,
        "same_height": overlap(first.up, second.up),
        "first_visible": views[0].visible - 0.75,
        "second_visible": views[1].visible - 0.60,
    }


def _length(span: tuple[float, float]) -> float:
    return max(1e-9, span[1] - span[0])
