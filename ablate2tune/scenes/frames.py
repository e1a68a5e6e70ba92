"""Frames of reference: the camera's view, or the second object's own front.

"In front of the car" says two things: nearer to the viewer than the car, or where the car faces.
With `scenes.frame: object` it is the second, and captions say so.
"""

import math
import random

from ablate2tune.recipe import ScenesConfig
from ablate2tune.scenes.catalogue import find_asset
from ablate2tune.scenes.layout import Arrangement, Shape, Spot, TwinLayout
from ablate2tune.scenes.sampling import relation_of
from ablate2tune.scenes.vocabulary import CONTRAST, DIRECTIONS

ELEVATION = (24.0, 38.0)
"""Camera's angle above the horizon (degrees), for an object that turns any side to the camera."""
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

    The second stays, the first stands before its front and behind its back, or at either hand.
    """
    a, b = shapes
    turn = math.radians(b.yaw)
    front, left = (math.sin(turn), -math.cos(turn)), (math.cos(turn), math.sin(turn))
    in_depth = relation in ("in front of", "behind")
    toward, across = (front, left) if in_depth else (left, front)
    half, width = b.half[::-1] if in_depth else b.half
    away = half + a.reach + rng.uniform(0.1, 0.4) * (half + a.reach) / 2
    slip = rng.uniform(-0.2, 0.2) * width
    ahead, opposite = (
        (side * away * toward[0] + slip * across[0], side * away * toward[1] + slip * across[1])
        for side in (1, -1)
    )
    places: list[dict[str, Spot]] = [
        {"a": (x, y, None, 0.0), "b": (0.0, 0.0, None, 0.0)} for x, y in (ahead, opposite)
    ]
    first = "in front of" if in_depth else "left of"
    relations = (first, CONTRAST[first])
    one, two = (
        TwinLayout(name, ("a", "b"), spots) for name, spots in zip(relations, places, strict=True)
    )
    return Arrangement(shapes, (one, two) if relation == first else (two, one))
