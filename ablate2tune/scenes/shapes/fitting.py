"""What fits under, onto and into what, at about its size in life.

Things are made smaller until they fit, but not smaller than one of their kind would be beside the
other: no dog of 20 cm below a chair, no dining table on a bench.
"""

import math
import random
from functools import lru_cache
from pathlib import Path

from ablate2tune.scenes.shapes.height_maps import height_map
from ablate2tune.scenes.shapes.shapes import Shape

LEAST, LARGEST = 0.6, 1.6
"""Size of what is put somewhere as a multiple of its size in life, beside the other's."""
STEP = 0.94
"""Factor between the sizes that are tried."""
HEADROOM = 1.05
"""Free height that a thing below another needs, as a multiple of its height."""
FRONT = 0.6
"""Part of the places, the nearest to the camera, of which one is drawn: it is seen better."""
ROOM = 0.58
"""Share of a container's half width that a small thing in it takes, if it may be so large ..."""
LARGEST_INSIDE = 1.3
"""Largest size in life of what is put into a container, as a multiple of the container's: no bottle
in a cup."""
STANDS_OUT = 1.7
"""... and the height of any at most, as a multiple of the container's."""
ROOMY = 1.15
"""Width of the place for a thing in another, as a multiple of its own."""
SLIP = 0.1
"""How far from a container's middle things are put into it, as a part of its half width."""


def proportion(a: Shape, b: Shape) -> float:
    """Size of `a` beside `b` as a multiple of what it is in life."""
    return a.scale / b.scale


def own_half(a: Shape, b: Shape) -> tuple[float, float]:
    """Half extents of a's footprint along b's own axes, in units of b at natural size."""
    turned = a.turned(a.yaw - b.yaw)
    return turned.across / b.scale, turned.along / b.scale


def on_ground(spot: tuple[float, float], b: Shape) -> tuple[float, float]:
    """A place in b's own frame as b is turned and sized."""
    c, s = math.cos(math.radians(b.yaw)), math.sin(math.radians(b.yaw))
    x, y = (b.scale * v for v in spot)
    return c * x - s * y, s * x + c * y


def _least(a: Shape, b: Shape) -> float:
    """The smallest factor by which `a` may be resized to be put somewhere."""
    return min(1.0, LEAST / proportion(a, b))


def _spots(a: Shape, b: Shape, folder: Path | None) -> list[tuple[float, float]]:
    """Places, in b's frame, at which `a` can stand both below `b` and on it."""
    held, half = height_map(b.kind, b.variant, b.pose, folder), own_half(a, b)
    tops = held.tops(half)
    below = set(held.shelters(half, HEADROOM * a.height / b.scale)) if tops else set()
    return [spot for spot in tops if spot in below]


@lru_cache(maxsize=8192)
def fits_under(a: Shape, b: Shape, folder: Path | None = None) -> bool:
    """Whether `a`, at a size of its kind, fits both under `b` and onto it, along it or across."""
    small = a.resized(_least(a, b))
    return any(_spots(small.turned(b.yaw + turn), b, folder) for turn in (0.0, 90.0))


def under_and_on(
    rng: random.Random, a: Shape, b: Shape, folder: Path | None = None
) -> tuple[Shape, tuple[float, float]]:
    """`a` as large as fits, and a place for it both below `b` and on it.

    `a` stays as it is turned where that costs nothing; else it stands along `b` or across.

    Raises:
        ValueError: it does not fit (see `fits_under`).
    """
    turns = [a.yaw, *rng.sample([b.yaw + turn for turn in (0.0, 90.0, 180.0, 270.0)], 4)]
    least, factor = _least(a, b), 1.0
    while True:
        for turn in turns:
            made = a.resized(factor).turned(turn)
            spots = sorted((on_ground(s, b) for s in _spots(made, b, folder)), key=lambda s: s[1])
            if spots:
                return made, spots[int(rng.random() * FRONT * len(spots))]
        if factor == least:
            raise ValueError(f"{a.kind} {a.variant} does not fit under {b.kind} {b.variant}")
        factor = max(least, factor * STEP)


@lru_cache(maxsize=8192)
def fits_into(a: Shape, b: Shape, folder: Path | None = None) -> bool:
    """Whether `a` can be put into `b` at a size of its kind, along it or across."""
    if not b.holds or a.holds or a.clearance or a.natural > LARGEST_INSIDE * b.natural:
        return False
    small = a.resized(_least(a, b))
    if small.height > STANDS_OUT * b.height:
        return False
    return any(_hollows(small.turned(b.yaw + turn), b, folder) for turn in (0.0, 90.0))


def into(
    rng: random.Random, a: Shape, b: Shape, folder: Path | None = None
) -> tuple[Shape, tuple[float, float]]:
    """`a` at the size at which it is put into `b`, small things a little larger, and its place.

    Raises:
        ValueError: it does not fit (see `fits_into`).
    """
    turns = [a.yaw, *rng.sample([b.yaw + turn for turn in (0.0, 90.0, 180.0, 270.0)], 4)]
    larger = min(LARGEST / proportion(a, b), ROOM * min(b.half) / a.reach)
    factor = min(max(1.0, larger), STANDS_OUT * b.height / a.height)
    least, near = _least(a, b), SLIP * min(b.half)
    while True:
        for turn in turns:
            made = a.resized(factor).turned(turn)
            spots = [on_ground(spot, b) for spot in _hollows(made, b, folder)]
            spots.sort(key=lambda spot: math.hypot(*spot))
            if spots:
                central = [spot for spot in spots if math.hypot(*spot) <= near]
                return made, rng.choice(central or spots[:1])
        if factor <= least:
            raise ValueError(f"{a.kind} {a.variant} does not fit into {b.kind} {b.variant}")
        factor = max(least, factor * STEP)


def _hollows(a: Shape, b: Shape, folder: Path | None) -> list[tuple[float, float]]:
    """Places, in b's frame, at which `a` sinks into `b`, with some room around it."""
    x, y = own_half(a, b)
    return height_map(b.kind, b.variant, b.pose, folder).hollows((ROOMY * x, ROOMY * y))
