"""Which way a recipe's contrast groups are drawn."""

from typing import Any

from ablate2tune.scenes.layouts import natural, scene_sampling
from ablate2tune.scenes.prompts import prompted
from ablate2tune.scenes.scenes_config import ScenesConfig


def sample(config: ScenesConfig, seed: int, index: int, attempt: int, split: str) -> dict[str, Any]:
    """Draw one contrast group; everything follows from the arguments.

    Raises:
        UserError: nothing can be drawn from the recipe.
    """
    if config.world == "plain":
        return scene_sampling.sample_group(config, seed, index, attempt, split)
    draw = prompted.sample_prompt_group if config.prompts else natural.sample_natural_group
    return draw(config, seed, index, attempt, split)


def relation_of(config: ScenesConfig, index: int) -> str:
    """The relation that a group's first picture shows."""
    if config.prompts:
        return prompted.prompt_relation(config, index)
    return scene_sampling.relation_of(config, index)
