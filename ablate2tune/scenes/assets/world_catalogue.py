"""The surroundings that natural scenes may have, read from `blender_scenes` without Blender."""

import importlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from ablate2tune.errors import UserError
from ablate2tune.scenes.assets.asset_catalogue import NAME, assets_module
from ablate2tune.scenes.assets.asset_folders import asset_folders


@lru_cache
def worlds(folder: Path | None = None) -> dict[str, Any]:
    """Every world by name, those of extensions and of a user's folder included.

    Raises:
        UserError: a file of the folder is no world (see blender_scenes/assets/worlds).
    """
    assets_module()
    try:
        known = importlib.import_module(f"{NAME}.worlds").worlds
        return known(tuple(map(str, asset_folders(folder))))
    except ValueError as error:
        raise UserError(
            str(error), where="scenes.assets", mend="see blender_scenes/assets/worlds/__init__.py"
        ) from error
