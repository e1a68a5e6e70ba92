"""The surroundings that natural scenes may have, read from `blender_scenes` without Blender."""

import importlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from ablate2tune.errors import UserError
from ablate2tune.scenes.assets.asset_catalogue import NAME, assets_module
from ablate2tune.scenes.assets.asset_folders import asset_folders
from ablate2tune.scenes.assets.declarations import world_fault


@lru_cache
def worlds(folder: Path | None = None) -> dict[str, Any]:
    """Every world by name, those of extensions and of a user's folder included.

    Raises:
        UserError: a file of the folder is no world (see blender_scenes/assets/worlds).
    """
    assets_module()
    try:
        module = importlib.import_module(f"{NAME}.worlds")
        found = module.worlds(tuple(map(str, asset_folders(folder))))
        for name, world in found.items():
            if fault := world_fault(world, module.Surface, module.Sky):
                raise ValueError(f"world {name!r}: {fault}")
        return found
    except ValueError as error:
        raise UserError(
            str(error), where="scenes.assets", mend="see blender_scenes/assets/worlds/__init__.py"
        ) from error
