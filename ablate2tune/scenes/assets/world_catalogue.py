"""The surroundings that natural scenes may have, read from `blender_scenes` without Blender."""

import importlib
from functools import lru_cache
from typing import Any

from ablate2tune.scenes.assets.asset_catalogue import NAME, assets_module


@lru_cache
def worlds() -> dict[str, Any]:
    """Every world by name (see blender_scenes/assets/worlds)."""
    assets_module()
    return importlib.import_module(f"{NAME}.worlds").worlds()
