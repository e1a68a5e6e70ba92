# SPDX-License-Identifier: Apache-2.0
"""The surroundings of natural scenes, one file each: ground, walls, sky, and what belongs there.

To add one, put a file into this folder, or one among your own assets (`from .worlds import`):

    from . import Surface, World

    WORLD = World("yard", "outdoors", ("in a yard",), grounds=(Surface((0.3, 0.28, 0.25)),))

A scene draws one of each of a world's grounds, walls and skies. Nothing here needs Blender, so the
sampler can read it too.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from typing import NamedTuple

from .. import modules
from .._surfaces import Rgb, Surface

__all__ = ["Rgb", "Sky", "Surface", "World", "worlds"]


class Sky(NamedTuple):
    """Colours at the horizon and overhead, and how captions say what light it is."""

    horizon: Rgb
    overhead: Rgb
    words: str = ""


DAY = Sky((0.75, 0.86, 1.0), (0.28, 0.5, 0.95), "on a clear day")
HAZE = Sky((0.9, 0.9, 0.88), (0.6, 0.68, 0.78), "on a hazy day")
EVENING = Sky((1.0, 0.78, 0.55), (0.42, 0.5, 0.8), "in the evening")
SKIES = (DAY, HAZE, EVENING)
"""Outdoors."""


@dataclass(frozen=True)
class World:
    """Surroundings.

    `place` is "indoors", "outdoors" or "" (anything may stand there), `words` how captions say it,
    `grounds`, `walls` and `skies` the looks to draw from: a ground of None is the scene's own grey,
    without walls there are none. `windows`: the wall has some. `largest` is the size (metres) of
    the largest thing that may stand there.
    """

    name: str
    place: str
    words: tuple[str, ...]
    grounds: tuple[Surface | None, ...] = (None,)
    walls: tuple[Surface, ...] = ()
    skies: tuple[Sky, ...] = ()
    windows: bool = False
    largest: float = float("inf")


def worlds(folders: tuple[str, ...] = ()) -> dict[str, World]:
    """Every world by name: this package's, then those among the files of further folders.

    Raises:
        ValueError: a file cannot be run, its WORLD is none, or a world of that name exists already.
    """
    found = {}
    for file in sorted(os.listdir(os.path.dirname(os.path.abspath(__file__)))):
        stem, ending = os.path.splitext(file)
        if ending == ".py" and not stem.startswith("_"):
            world = importlib.import_module(f"{__name__}.{stem}").WORLD
            found[world.name] = world
    for path, module in modules(folders):
        made = getattr(module, "WORLD", None)
        if made is None:
            continue
        if not isinstance(made, World):
            raise ValueError(f"{path}: its WORLD is no World")
        if made.name in found:
            raise ValueError(f"{path}: there is already a world named {made.name!r}")
        found[made.name] = made
    return found
