"""Recipes: the typed, frozen settings of a run, read from YAML and checked once.

Every key can be overridden on the command line after the recipe's path (`train.steps=200`).
An unknown key, a wrong type or an impossible value stops before any work with one line that
names the file, the key, the value and the nearest valid key.
"""

from ablate2tune.recipe.compare import CompareConfig, ZeroShotConfig
from ablate2tune.recipe.loading import Recipe, load_recipe, load_settings
from ablate2tune.recipe.localize import GenerateConfig, JointConfig, LocalizeConfig, OwnImagesConfig
from ablate2tune.recipe.model import ModelConfig
from ablate2tune.recipe.scenes import ALL_OBJECTS, PRESETS, CaptionRates, ScenesConfig
from ablate2tune.recipe.settings import Fraction, Positive, Settings, Sigma
from ablate2tune.recipe.train import TrainConfig

__all__ = [
    "ALL_OBJECTS",
    "PRESETS",
    "CaptionRates",
    "CompareConfig",
    "Fraction",
    "GenerateConfig",
    "JointConfig",
    "LocalizeConfig",
    "ModelConfig",
    "OwnImagesConfig",
    "Positive",
    "Recipe",
    "ScenesConfig",
    "Settings",
    "Sigma",
    "TrainConfig",
    "ZeroShotConfig",
    "load_recipe",
    "load_settings",
]
