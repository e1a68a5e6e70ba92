"""What the files of assets and worlds declare, where it is of another kind than it must be.

A tuple of one without its comma is a text, whose letters would be taken for words.
"""

from collections.abc import Mapping
from typing import Any

PLACES = ("indoors", "outdoors")


def asset_fault(asset: Any, colours: Mapping[str, Any]) -> str | None:
    """What is wrong with an Asset of `blender_scenes.assets`, in words; None if nothing is.

    Args:
        asset: what a file declares.
        colours: the words that there are for colours.
    """
    if not isinstance(asset.variants, Mapping) or not asset.variants:
        return "variants are no mapping of names to parameters"
    if not isinstance(asset.synonyms, Mapping):
        return "synonyms are no mapping of nouns to variants"
    variants = tuple(asset.variants)
    for key, values, known in (
        ("poses", asset.poses, None),
        ("colours", asset.colours, tuple(colours)),
        ("places", asset.places, PLACES),
        ("faceless", asset.faceless, variants),
        ("holds", asset.holds, variants),
        ("flies", asset.flies, asset.poses),
        *((f"synonyms of {noun!r}", fits, variants) for noun, fits in asset.synonyms.items()),
    ):
        if not isinstance(values, tuple | list):
            return f"{key} are no tuple but {values!r}"
        if not values and key in ("poses", "colours", "places"):
            return f"{key} are empty"
        for value in values:
            if not isinstance(value, str) or (known is not None and value not in known):
                among = f"; there are {', '.join(known)}" if known else ""
                return f"{key} have an unknown {value!r}{among}"
    return None


def world_fault(world: Any, surface: type, sky: type) -> str | None:
    """What is wrong with a World of `blender_scenes.assets.worlds`, in words; None if nothing is.

    Args:
        world: what a file declares.
        surface: the type of its grounds and walls.
        sky: the type of its skies.
    """
    if world.place not in ("", *PLACES):
        return f"place is {world.place!r}; it is one of {', '.join(PLACES)}, or empty"
    for key, kind in (("words", str), ("grounds", surface), ("walls", surface), ("skies", sky)):
        values = getattr(world, key)
        # A Sky is a tuple as well, of colours.
        if not isinstance(values, tuple | list) or isinstance(values, sky):
            return f"{key} are no tuple but {values!r}"
        for value in values:
            if not isinstance(value, kind) and not (key == "grounds" and value is None):
                return f"{key} have {value!r}, which is no {kind.__name__}"
    return None if world.grounds else "grounds are empty; (None,) is the scene's own grey"
