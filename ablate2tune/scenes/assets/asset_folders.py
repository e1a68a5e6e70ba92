"""Folders of asset files that extensions bring, beside the built-in ones and `scenes.assets`."""

import hashlib
from pathlib import Path

from ablate2tune.registry import Registry

ASSET_FOLDERS: Registry[Path] = Registry("folder of assets", "ablate2tune.scenes.assets")
"""By name; an extension adds a folder of files like those of blender_scenes/assets, and so do all
nodes of a Ray cluster on which it is installed."""


def asset_folders(own: Path | None = None) -> tuple[Path, ...]:
    """All folders beside the built-in one: the extensions', then the user's own."""
    return (*ASSET_FOLDERS.values(), *([own] if own else []))


def script_hashes(own: Path | None = None) -> dict[str, str]:
    """SHA-256 of each asset file beside the built-in ones, by its name: what scenes depend on."""
    files = sorted(path for folder in asset_folders(own) for path in folder.glob("*.py"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
