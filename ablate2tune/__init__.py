"""Find which parts of a model carry a capability, then tune only those.

What the command line does is also here, for models and figures of one's own (docs/any-model.ipynb):
`discover`, `select`, `Ablation`, `ablated`, `ablated_rows`, `sweep`, `load_denoiser` and
`load_language_model`; `ablate2tune.bake` holds `bake`, `find_direction` and `write_checkpoint`, and
`ablate2tune.train` `train` for pictures and `teach` for any lessons.

The package never imports Blender: scenes are rendered by a separate process (`blender_scenes/`).
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_PLACES = {
    "ablate2tune.ablation": ("Ablation", "Support", "ablated", "ablated_rows", "collect_means"),
    "ablate2tune.any_model.own_sweep": ("sweep",),
    "ablate2tune.components": ("discover", "select"),
    "ablate2tune.models": ("load_denoiser", "load_language_model"),
    "ablate2tune.models.model_config": ("ModelConfig",),
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: torch takes seconds, and a version or a help text needs none."""
    for module, names in _PLACES.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
