"""The objects that scenes can show, read from `blender_scenes/assets` without Blender."""

import importlib.util
import sys
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from ablate2tune.errors import UserError, did_you_mean
from ablate2tune.scenes.assets.asset_folders import asset_folders
from ablate2tune.scenes.assets.asset_trial import try_assets
from ablate2tune.scenes.assets.declarations import asset_fault
from ablate2tune.scenes.assets.user_assets import Model, user_assets
from ablate2tune.scenes.rendering.blender import worker_script

NAME = "ablate2tune_blender_assets"
MODEL = "model"
"""The one variant of a user's model."""


@lru_cache
def assets_module() -> ModuleType:
    """The package `blender_scenes/assets`, which imports nothing but the standard library."""
    path = worker_script().parent / "assets" / "__init__.py"
    spec = importlib.util.spec_from_file_location(
        NAME, path, submodule_search_locations=[str(path.parent)]
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    spec.loader.exec_module(module)
    return module


@lru_cache
def catalogue(folder: Path | None = None) -> dict[str, Any]:
    """Every asset by name, those of extensions and of a user's folder included.

    Raises:
        UserError: the folder is missing, or one of its files is not an asset (see `user_assets`
            for models).
    """
    if folder is not None and not folder.is_dir():
        raise UserError("no such folder", where=f"scenes.assets = {folder}")
    if folder is not None:
        try_assets(Path(assets_module().HERE), folder.resolve())
    try:
        known = assets_module().catalogue(tuple(map(str, asset_folders(folder))))
        for asset in known.values():
            if fault := asset_fault(asset, assets_module().COLOURS):
                raise ValueError(f"{asset.file}: {fault}")
    except ValueError as error:
        raise UserError(
            str(error), where="scenes.assets", mend="see blender_scenes/assets/__init__.py"
        ) from error
    for name, model in user_assets(folder).models.items():
        if name in known:
            raise UserError(
                f"there is already an asset named {name!r}",
                where=str(model.path),
                mend="give it another `name` in its note",
            )
        known[name] = _as_asset(model)
    return known


def _as_asset(model: Model) -> Any:
    """A model as the sampler sees it: a block of its extents."""
    note, module = model.note, assets_module()
    for colour in note.colours:
        if colour not in module.COLOURS:
            raise UserError(
                f"unknown colour {colour!r}",
                where=str(model.path.with_suffix(".yaml")),
                mend=did_you_mean(colour, module.COLOURS),
            )

    def build(builder: Any, extents: tuple[float, float, float], pose: str) -> None:
        x, y, z = extents
        builder.block((-x / 2, -y / 2, 0.0), (x / 2, y / 2, z))

    return module.Asset(
        model.name,
        build,
        {MODEL: model.extents},
        colours=tuple(note.colours),
        wording=note.wording,
        has_front=note.front is not None,
        one_sided=note.one_sided,
        holds=(MODEL,) if note.holds else (),
        solid_top=note.solid_top,
        shelters={MODEL: note.shelters} if note.shelters else {},
        floats=note.floats,
    )


def find_asset(name: str, folder: Path | None = None) -> Any:
    """An asset by name.

    Raises:
        UserError: there is none of that name.
    """
    known = catalogue(folder)
    if name not in known:
        raise UserError(f"unknown asset {name!r}", mend=did_you_mean(name, known))
    return known[name]
