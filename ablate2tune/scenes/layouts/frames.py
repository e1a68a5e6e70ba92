"""Frames of reference: the camera's view, or the second object's own front.

"In front of the car" says two things: nearer to the viewer than the car, or where the car faces.
With `scenes.frame: object` it is the second, and captions say so.
"""

import math
import random

from ablate2tune.scenes.assets.asset_catalogue import find_asset
from ablate2tune.scenes.layouts.scene_sampling import relation_of
from ablate2tune.scenes.scenes_config import ScenesConfig
from ablate2tune.scenes.shapes.shapes import Arrangement, Shape, TwinLayout
from ablate2tune.scenes.vocabulary import CONTRAST, DIRECTIONS

ELEVATION = (24.0, 38.0)
"""Camera's angle above the horizon (degrees), for an object that turns any side to the camera."""
COS, SIN = (f(math.radians(sum(ELEVATION) / 2)) for f in (math.cos, math.sin))
ONE_SIDED = 60.0
"""Largest yaw (degrees) of an object whose front cannot be told from behind."""


def frame_of(config: ScenesConfig, index: int) -> str | None:
    """ "camera" or "object" for a group; None in a set of the camera's frame alone."""
    if config.frame == "camera":
        return None
    if relation_of(config, index) not in DIRECTIONS:
        return "camera"
    turn = index // len([r for r in CONTRAST if r in config.relations])
    return "object" if config.frame == "object" or turn % 2 else "camera"


def shows_front(config: ScenesConfig, kind: str, variant: str) -> bool:
    """Whether an object has a front that differs from its back."""
    asset = find_asset(kind, config.assets)
    return asset.has_front and variant not in asset.faceless


def any_side(rng: random.Random, config: ScenesConfig, shape: Shape) -> Shape:
    """The shape turned so that it may show the camera any side that its front can be told from."""
    most = ONE_SIDED if find_asset(shape.kind, config.assets).one_sided else 180.0
    return shape.turned(round(rng.uniform(-most, most), 4))


def arrange_by_front(
    rng: random.Random, relation: str, shapes: list[Shape], throw: float
) -> Arrangement:
    """Places for `first RELATION second` by the second's front and for the contrast.

    The first stands before the second's front and behind its back, or at either hand. An object
    that shows its front alone would have the first in the rear, or to the right, for one relation
    only; so what stands in the rear is enlarged as perspective makes it smaller (`throw` as in
    `layout.arrange`), and the two as a whole are in the same place.
    """
    a, b = shapes
    turn = math.radians(b.yaw)
    front, left = (math.sin(turn), -math.cos(turn)), (math.cos(turn), math.sin(turn))
    in_depth = relation in ("in front of", "behind")
    toward, across = (front, left) if in_depth else (left, front)
    half, width = b.half[::-1] if in_depth else b.half
    spare = rng.uniform(0.1, 0.4) * (half + a.reach) / 2
    slip = rng.uniform(-0.2, 0.2) * width

    def apart(side: int, away: float) -> tuple[float, float]:
        """From the second to the first, along x and y."""
        x, y = (side * away * t + slip * c for t, c in zip(toward, across, strict=True))
        return x, y

    away = half + a.reach + spare
    distance = _distance(apart(1, away), a, b, throw)
    sides = (1, -1)
    spots = [_centred(apart(side, away), a, b) for side in sides]
    grown = [(a, b)]
    for _ in range(2):
        grown = [
            (a.resized(1 + y * COS / distance), b.resized(1 + z * COS / distance))
            for (_, y), (_, z) in spots
        ]
        away = max(c.reach + half * d.scale / b.scale for c, d in grown) + spare
        spots = [
            _centred(apart(side, away), c, d) for side, (c, d) in zip(sides, grown, strict=True)
        ]
    first = "in front of" if in_depth else "left of"
    one, two = (
        TwinLayout(
            name,
            ("a", "b"),
            {key: (x, y, None, 0.0) for key, (x, y) in zip("ab", at, strict=True)},
            {"a": c.scale / a.scale, "b": d.scale / b.scale},
        )
        for name, at, (c, d) in zip((first, CONTRAST[first]), spots, grown, strict=True)
    )
    return Arrangement(shapes, (one, two) if relation == first else (two, one))


def _distance(apart: tuple[float, float], a: Shape, b: Shape, throw: float) -> float:
    """The camera's distance (metres), from what its frame must hold."""
    x, y = map(abs, apart)
    high = max(a.height, b.height) * COS + (y + a.along + b.along) * SIN
    return throw * max(x + a.across + b.across, high) + y / 2 * COS


def _centred(apart: tuple[float, float], a: Shape, b: Shape) -> list[tuple[float, float]]:
    """Places of two so far apart, with what the frame shows of both around the origin."""
    x, y = apart
    left, right = min(x - a.across, -b.across), max(x + a.across, b.across)
    low = min(y - a.along, -b.along)
    high = max(y + a.along + a.height * COS / SIN, b.along + b.height * COS / SIN)
    dx, dy = (left + right) / 2, (low + high) / 2
    return [(x - dx, y - dy), (-dx, -dy)]
