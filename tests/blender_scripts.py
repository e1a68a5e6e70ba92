"""Modules of blender_scenes, for tests; no conftest, of which there are several by that name."""

import importlib.util
import sys
from types import ModuleType

from ablate2tune.scenes.rendering.blender import worker_script


def load_blender_script(name: str) -> ModuleType:
    """A module of blender_scenes that needs no Blender."""
    path = worker_script().with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"blender_scenes_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
