"""Is a relation true by the second object's own front? The part of `check-data` for that frame.

Depth and masks show where things are, but not which side of a thing is its front. This takes the
front's direction and the place of the second object from the sidecar, and nothing else; all
extents are measured in the picture. The half length of the second is that of its visible points
about its place, since what is behind them is hidden and objects are centred on their places.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ablate2tune.scenes.checking.proof import Condition, Finding, settle
from ablate2tune.scenes.layouts.geometry import UP, Cloud, ground_axes, shared

SIDES = {"in front of": (0, 1), "behind": (0, -1), "left of": (1, 1), "right of": (1, -1)}
"""Axis (0: to the front, 1: to the left) and direction of each relation."""


class Pose(NamedTuple):
    """Where an object stands and faces, in the axes of a `Cloud` (right, forward)."""

    place: np.ndarray
    front: np.ndarray


def read_pose(made: Mapping[str, Any], camera: Mapping[str, Any]) -> Pose:
    """The pose of a sidecar's object.

    Raises:
        KeyError: the object has no front or no place.
    """
    axes = ground_axes(np.array(camera["camera_to_world"], float))
    front = axes @ np.array(made["front"], float)
    return Pose(axes @ np.array([made["x"], made["y"]], float), front / np.linalg.norm(front))


def decide_by_front(
    relation: str, first: Cloud | None, second: Cloud | None, pose: Pose
) -> Finding:
    """Whether `first RELATION second` is true by the second's front, which `pose` tells.

    Raises:
        KeyError: the relation has no side of the front, the back or a hand.
    """
    axis, side = SIDES[relation]

    def conditions(a: Cloud, b: Cloud) -> list[Condition]:
        pitch = max(a.pitch, b.pitch)
        near, far = _own(a, pose), _own(b, pose)
        half = abs(far).max(axis=0)
        across = 1 - axis
        low, high = near[:, across].min(), near[:, across].max()
        common = min(high, half[across]) - max(low, -half[across])
        narrower = min(high - low, 2 * half[across])
        beyond = (side * near[:, axis]).min() - 0.75 * half[axis]
        return [
            Condition("beyond that side", float(beyond), pitch),
            Condition("in line with it", float(common - 0.1 * narrower), pitch),
            Condition("at one height", shared(a, b, UP), pitch),
        ]

    return settle([first, second], conditions)


def _own(cloud: Cloud, pose: Pose) -> np.ndarray:
    """(n, 2): distance to the front and to the left of a pose (metres)."""
    left = np.array([-pose.front[1], pose.front[0]])
    return (cloud.points[:, :2] - pose.place) @ np.stack([pose.front, left], axis=1)
