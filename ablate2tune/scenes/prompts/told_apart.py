"""Colours that people tell apart at a glance: of two things, and of a thing and the ground."""

from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from ablate2tune.scenes.assets.asset_catalogue import assets_module
from ablate2tune.scenes.assets.world_catalogue import worlds
from ablate2tune.scenes.scenes_config import ScenesConfig

LEAST = 45.0
"""Distance in CIELAB (1976) of two things' colours: above black and brown, red and orange."""
LEAST_FROM_GROUND = 16.0
"""The same of a thing and what it stands on, which is darker below it ..."""
LEAST_IN_THE_AIR = 40.0
"""... and of what is small before a far ground: a green bird above grass."""
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
"""From linear sRGB (IEC 61966-2-1)."""


def lab(rgb: Iterable[float]) -> np.ndarray:
    """CIELAB (1976, white D65) of a linear sRGB colour in [0, 1]: (3,).

    >>> [round(float(x), 1) for x in lab((1.0, 1.0, 1.0))]
    [100.0, 0.0, 0.0]
    """
    x, y, z = TO_XYZ @ np.array(tuple(rgb)) / TO_XYZ.sum(axis=1)
    fx, fy, fz = (np.cbrt(v) if v > (6 / 29) ** 3 else v * (29 / 6) ** 2 / 3 + 4 / 29
                  for v in (x, y, z))  # fmt: skip
    return np.array([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)])


@lru_cache
def _body(colour: str) -> np.ndarray:
    return lab(assets_module().surface("body", colour).rgb)


def alike(one: str, other: str) -> bool:
    """Whether two colours may be taken for one another."""
    return float(np.linalg.norm(_body(one) - _body(other))) < LEAST


def lost(config: ScenesConfig, colour: str, environment: str, aloft: bool = False) -> bool:
    """Whether a thing of a colour is hard to see on, or above, some ground of a world."""
    least = LEAST_IN_THE_AIR if aloft else LEAST_FROM_GROUND
    world = worlds(config.assets).get(environment)
    grounds = [ground for ground in world.grounds if ground is not None] if world else []
    seen = [
        lab(rgb)
        for ground in grounds
        for rgb in ([ground.rgb, ground.second] if ground.pattern else [ground.rgb])
    ]
    return any(float(np.linalg.norm(_body(colour) - one)) < least for one in seen)
