"""Where things belong, and how a scene's surroundings look: no fireplace on a lawn."""

import random
from collections.abc import Iterable
from typing import Any, Literal

from ablate2tune.scenes.assets.asset_catalogue import catalogue
from ablate2tune.scenes.assets.world_catalogue import worlds
from ablate2tune.scenes.scenes_config import ScenesConfig

EXPOSURE = (-0.35, 0.35)
"""Stops."""
BLUR = (0.004, 0.02)
"""How far a point at infinity spreads, as a fraction of the frame ..."""
BLURRED = 0.4
"""... in so many of the scenes."""
LOW_SUN = 40.0
"""Below this angle (degrees) shadows are longer than things are high; above, it is no evening."""
SUNLIT = 65.0
"""Farthest azimuth (degrees) of a sun that a wall does not shut out."""
LOOKS = 1000
"""Numbers by which the looks of a world are told; any larger than the looks there are."""
WINDOWS = 3.0, 2.2
"""Distance (metres) of a wall's windows from each other, about, and how far they may be shifted."""


def shared_places(config: ScenesConfig, kinds: Iterable[str]) -> set[str]:
    """Where all of some kinds belong."""
    known = catalogue(config.assets)
    return set.intersection(*(set(known[kind].places) for kind in kinds))


def fitting_environment(
    rng: random.Random,
    config: ScenesConfig,
    kinds: Iterable[str],
    largest: float,
    aloft: Literal["", "hung", "flying"] = "",
) -> str:
    """One of the recipe's in which all of the kinds belong; any, if there is none.

    `largest` is the largest natural size of the things (metres). `aloft`: one of them hangs on a
    cord, which needs a ceiling, or flies, outdoors before the sky.
    """
    kinds = list(kinds)
    fitting = [
        name
        for name in config.environments
        if all(belongs(config, kind, largest, name) for kind in kinds)
        and not (_outdoors(config, name) and (aloft == "hung" or (aloft and walled(config, name))))
    ]
    return rng.choice(fitting or config.environments)


def belongs(config: ScenesConfig, kind: str, size: float, environment: str) -> bool:
    """Whether a kind of a natural size (metres) may stand in an environment."""
    world = worlds(config.assets).get(environment)
    if world is None:
        return True
    places = catalogue(config.assets)[kind].places
    return size <= world.largest and (not world.place or world.place in places)


def _outdoors(config: ScenesConfig, environment: str) -> bool:
    world = worlds(config.assets).get(environment)
    return world is not None and world.place == "outdoors"


def walled(config: ScenesConfig, environment: str) -> bool:
    """Whether a wall stands behind everything."""
    world = worlds(config.assets).get(environment)
    return world is not None and bool(world.walls)


def sun_azimuth(
    rng: random.Random, config: ScenesConfig, azimuth: float, environment: str
) -> float:
    """Where the sun stands (degrees): aside of a camera's azimuth or behind it, before any wall."""
    drawn = azimuth + rng.uniform(-75, 75)
    return round(min(max(drawn, -SUNLIT), SUNLIT) if walled(config, environment) else drawn, 4)


def look_of(rng: random.Random, config: ScenesConfig, environment: str) -> dict[str, Any]:
    """The keys of a group's spec that say how its surroundings and its camera's picture look."""
    look: dict[str, Any] = {part: rng.randrange(LOOKS) for part in ("ground", "wall", "sky")}
    exposure, blur = rng.uniform(*EXPOSURE), rng.uniform(*BLUR)
    shift, blurred = rng.uniform(-WINDOWS[1], WINDOWS[1]) / 2, rng.random() < BLURRED
    world = worlds(config.assets).get(environment)
    if world is not None and world.windows:
        look["windows"] = [round(shift + k * WINDOWS[0], 3) for k in (-1, 0, 1)]
    return {
        "look": look,
        "exposure": round(exposure, 3),
        **({"blur": round(blur, 5)} if blurred else {}),
    }


def light_words(config: ScenesConfig, environment: str, look: dict[str, int], sun: float) -> str:
    """How captions say a scene's light, by "; ": its sky, and shadows that are seen to be long.

    `look` is that of `look_of`, `sun` the angle of the sun (degrees). Nothing is said of light that
    comes through windows or from an environment map.
    """
    world = worlds(config.assets).get(environment)
    if world is None or not world.skies:
        return ""
    words = world.skies[look["sky"] % len(world.skies)].words
    evening = words.endswith("evening")
    low = ["with long shadows"] if sun < LOW_SUN else []
    return "; ".join([*([] if evening and not low else [words]), *low])


def place_words(config: ScenesConfig, environment: str) -> str:
    """How captions say where a scene is, by "; "; nothing for an environment map."""
    world = worlds(config.assets).get(environment)
    return "; ".join(world.words) if world is not None else ""
