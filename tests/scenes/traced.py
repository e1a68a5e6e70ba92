"""Masks and depth maps of axis-aligned blocks, by the slab method: no Blender, no generator."""

import math
from typing import NamedTuple

import numpy as np

SIZE = 64
FOCAL = 120.0
"""Pixels."""


class Block(NamedTuple):
    """A block: middle of its base and full extents (metres); x right, y away from the camera."""

    x: float
    y: float
    z: float
    wide: float
    deep: float
    high: float


def table(x, y, wide=1.2, high=0.8):
    """A slab on four legs."""
    leg, top = 0.06, 0.08
    reach = wide / 2 - leg
    legs = [Block(x + i * reach, y + j * reach, 0, leg, leg, high - top)
            for i in (-1, 1) for j in (-1, 1)]  # fmt: skip
    return [Block(x, y, high - top, wide, wide, top), *legs]


def crate(x, y, wide=1.0, high=0.4):
    """A box without a lid."""
    wall, reach = 0.04, wide / 2
    return [
        Block(x, y, 0, wide, wide, wall),
        *(Block(x + i * reach, y, 0, wall, wide, high) for i in (-1, 1)),
        *(Block(x, y + j * reach, 0, wide, wall, high) for j in (-1, 1)),
    ]


def camera(elevation=20.0, distance=7.0, azimuth=0.0, target=(0.0, 0.0, 0.5)):
    """A camera that looks at the target from an angle above the horizon (degrees)."""
    e, a = math.radians(elevation), math.radians(azimuth)
    forward = np.array([-math.sin(a) * math.cos(e), math.cos(a) * math.cos(e), -math.sin(e)])
    right = np.array([math.cos(a), math.sin(a), 0.0])
    up = np.cross(right, forward)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, up, -forward], axis=1)
    pose[:3, 3] = np.array(target) - distance * forward
    k = [[FOCAL, 0, SIZE / 2], [0, FOCAL, SIZE / 2], [0, 0, 1]]
    return {"intrinsics": k, "camera_to_world": pose.tolist()}


def trace(bodies, view):
    """Mask (uint8) and depth (metres, rounded to millimetres) of bodies on the ground.

    `bodies`: blocks by label; the first has mask value 1.
    """
    pose = np.array(view["camera_to_world"])
    steps = (np.arange(SIZE) + 0.5 - SIZE / 2) / FOCAL
    x, y = np.meshgrid(steps, steps)
    rays = np.stack([x, -y, -np.ones_like(x)], axis=-1) @ pose[:3, :3].T
    origin = pose[:3, 3]
    with np.errstate(divide="ignore"):
        ground = np.where(rays[..., 2] < 0, -origin[2] / rays[..., 2], np.inf)
    depth, mask = ground, np.zeros((SIZE, SIZE), np.uint8)
    for value, blocks in enumerate(bodies.values(), start=1):
        for block in blocks:
            low = np.array([block.x - block.wide / 2, block.y - block.deep / 2, block.z])
            high = low + np.array([block.wide, block.deep, block.high])
            with np.errstate(divide="ignore"):
                one, two = (low - origin) / rays, (high - origin) / rays
            enter = np.minimum(one, two).max(axis=-1)
            leave = np.maximum(one, two).min(axis=-1)
            met = (enter <= leave) & (enter > 0) & (enter < depth)
            depth, mask = np.where(met, enter, depth), np.where(met, value, mask)
    depth = np.where(np.isfinite(depth), np.round(depth, 3), 0)
    return mask.astype(np.uint8), depth
