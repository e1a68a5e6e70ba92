"""What a picture's depth map, mask and camera say of its objects: points in space, nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.spatial import KDTree

from ablate2tune.errors import UserError

FARTHEST = 65.535
"""Depths from here on (metres) are clipped by the 16-bit file and give no point."""
RIGHT, FORWARD, UP = 0, 1, 2
"""Columns of `Cloud.points`."""


@dataclass(frozen=True, eq=False)
class Cloud:
    """The visible surface of one object.

    The axes are the camera's, flattened onto the ground: right, forward (away from the camera) and
    up, in metres. What another object hides, or what lies on the object's far side, has no point.
    """

    points: np.ndarray
    """(n, 3): right, forward, up."""
    pixels: np.ndarray
    """(n, 2): row and column of each point in the picture."""
    depth: np.ndarray
    """(n,): distance along the optical axis (metres)."""
    pitch: float
    """Distance (metres) between points that neighbouring pixels show, facing the camera."""
    low: np.ndarray = field(init=False)
    """(3,): smallest coordinates."""
    high: np.ndarray = field(init=False)
    """(3,): largest coordinates."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", self.points.min(axis=0))
        object.__setattr__(self, "high", self.points.max(axis=0))

    @property
    def middle(self) -> np.ndarray:
        """(3,): middle of the extents."""
        return (self.low + self.high) / 2

    @property
    def extent(self) -> np.ndarray:
        """(3,): length of the extents."""
        return self.high - self.low

    @property
    def breadth(self) -> float:
        """The larger extent on the ground."""
        return float(max(self.extent[RIGHT], self.extent[FORWARD]))

    @property
    def columns(self) -> tuple[int, int]:
        """First and last column of the picture, both inclusive."""
        return int(self.pixels[:, 1].min()), int(self.pixels[:, 1].max())


def clouds(
    mask: np.ndarray, depth: np.ndarray, camera: Mapping[str, Any], labels: Mapping[str, int]
) -> dict[str, Cloud]:
    """Unproject every labelled object that has at least one pixel.

    Args:
        mask: instance ids, (height, width).
        depth: distance along the optical axis in metres, (height, width); 0 = no surface.
        camera: `intrinsics` (3 x 3, pixels, the first pixel's centre at 0.5) and `camera_to_world`
            (4 x 4, metres; the camera looks along its own -z, y is up, z of the world is up).
        labels: mask value of each object.

    Raises:
        UserError: mask and depth differ in size, or the camera is no such camera.
    """
    if mask.shape != depth.shape:
        raise UserError(
            f"the mask is {mask.shape}, but the depth map {depth.shape} (rows, columns)"
        )
    try:
        intrinsics = np.array(camera["intrinsics"], float)
        pose = np.array(camera["camera_to_world"], float)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"the camera is incomplete ({error})") from error
    if intrinsics.shape != (3, 3) or pose.shape != (4, 4):
        raise UserError("the camera needs a 3 x 3 and a 4 x 4 matrix")
    found = {}
    for label, value in labels.items():
        rows, columns = np.nonzero((mask == value) & (depth > 0) & (depth < FARTHEST))
        if len(rows) == 0:
            continue
        metres = depth[rows, columns].astype(float)
        found[label] = Cloud(
            points=_unprojected(rows, columns, metres, intrinsics, pose),
            pixels=np.stack([rows, columns], axis=1),
            depth=metres,
            pitch=float(np.median(metres) / min(intrinsics[0, 0], intrinsics[1, 1])),
        )
    return found


def _unprojected(
    rows: np.ndarray, columns: np.ndarray, depth: np.ndarray, k: np.ndarray, pose: np.ndarray
) -> np.ndarray:
    x = (columns + 0.5 - k[0, 2]) / k[0, 0] * depth
    y = (rows + 0.5 - k[1, 2]) / k[1, 1] * depth
    world = np.stack([x, -y, -depth], axis=1) @ pose[:3, :3].T + pose[:3, 3]
    return np.concatenate([world[:, :2] @ ground_axes(pose).T, world[:, 2:]], axis=1)


def ground_axes(pose: np.ndarray) -> np.ndarray:
    """(2, 2): unit vectors to the right and forward on the ground, of a camera's pose (4 x 4)."""
    ahead = -pose[:2, 2] / np.linalg.norm(pose[:2, 2])
    return np.array([[ahead[1], -ahead[0]], ahead])


def distance(a: Cloud, b: Cloud, axes: tuple[int, ...] = (RIGHT, FORWARD, UP)) -> float:
    """Smallest distance (metres) of two clouds' points along some axes; never below the true one.

    On the ground: `distance(a, b, (RIGHT, FORWARD))`.
    """
    few, many = sorted((a.points[:, axes], b.points[:, axes]), key=len)
    return float(KDTree(many).query(few)[0].min())


def shared(a: Cloud, b: Cloud, axis: int) -> float:
    """Length (metres) of the common part of two extents; negative: the distance between them."""
    return float(min(a.high[axis], b.high[axis]) - max(a.low[axis], b.low[axis]))


def columns_shared(a: Cloud, b: Cloud) -> float:
    """Common picture columns as a fraction of the narrower; negative: columns between them."""
    spans = a.columns, b.columns
    common = min(s[1] for s in spans) - max(s[0] for s in spans) + 1
    return common / min(s[1] - s[0] + 1 for s in spans)


def outline_cut(a: Cloud, b: Cloud) -> float:
    """Fraction of b's visible rows in which b ends, to the left or right, at a nearer pixel of a.

    There a hides what b has behind it, however few columns of b are seen beside a.
    """
    front = {(int(r), int(c)): d for (r, c), d in zip(a.pixels, a.depth, strict=True)}
    rows = {
        int(r)
        for (r, c), d in zip(b.pixels, b.depth, strict=True)
        for side in (-1, 1)
        if front.get((int(r), int(c) + side), np.inf) < d
    }
    return len(rows) / len(np.unique(b.pixels[:, 0]))


def drops(a: Cloud, b: Cloud) -> np.ndarray:
    """How far a's lower edge stands above what the picture shows right below it, if that is b.

    Returns:
        (columns of a,): height (metres) of a's lowest point over b's point one pixel below;
        negative where b, being nearer, hides a's foot; nan where the pixel below is not b's.
    """
    heights = {(int(r), int(c)): z for (r, c), z in zip(b.pixels, b.points[:, UP], strict=True)}
    lowest: dict[int, tuple[int, float]] = {}
    for (row, column), z in zip(a.pixels, a.points[:, UP], strict=True):
        if column not in lowest or row > lowest[column][0]:
            lowest[column] = (row, z)
    return np.array([z - heights.get((row + 1, column), np.nan)
                     for column, (row, z) in sorted(lowest.items())])  # fmt: skip


def surrounded(a: Cloud, b: Cloud, sectors: int = 8) -> float:
    """Fraction of the directions on the ground, seen from a's middle, in which b has points."""
    away = b.points[:, :2] - a.middle[:2]
    turn = np.arctan2(away[:, 1], away[:, 0]) / (2 * np.pi) * sectors
    return len(np.unique(np.floor(turn + 0.5).astype(int) % sectors)) / sectors
