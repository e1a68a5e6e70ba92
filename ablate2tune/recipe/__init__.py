"""Recipes: the settings of a run, read from YAML and checked once.

The types of the sections live beside the code that they configure. Every key can be overridden on
the command line after the recipe's path (`train.steps=200`). An unknown key, a wrong type or an
impossible value stops before any work with one line that names the file, the key, the value and the
nearest valid key.
"""

from ablate2tune.recipe.loading import (
    Recipe,
    from_options,
    load_recipe,
    load_settings,
    overridden,
)

__all__ = ["Recipe", "from_options", "load_recipe", "load_settings", "overridden"]
