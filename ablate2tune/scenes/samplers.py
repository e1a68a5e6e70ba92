"""Which way a recipe's contrast groups are drawn."""

import itertools
from typing import Any

from ablate2tune.scenes.assets.asset_catalogue import catalogue
from ablate2tune.scenes.layouts import natural, natural_objects, scene_sampling
from ablate2tune.scenes.prompts import prompt_plans, prompted
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


def kind_pairs(config: ScenesConfig) -> dict[str, list[tuple[str, str]]]:
    """By relation, the kinds of subject and object that a recipe's scenes may show in it.

    Raises:
        UserError: none of the recipe's sentences can be shown.
    """
    if config.world == "plain":
        pairs = list(itertools.product(config.objects, config.objects))
        return dict.fromkeys(config.relations, pairs)
    return (prompt_plans if config.prompts else natural_objects).kind_pairs(config)


def things(config: ScenesConfig) -> list[tuple[str, str]]:
    """The coloured kinds that a recipe's scenes may name: ("red", "ball").

    Raises:
        UserError: none of the recipe's sentences can be shown.
    """
    if config.world == "plain":
        return list(itertools.product(config.colours, config.objects))
    named = sorted(
        {kind for pairs in kind_pairs(config).values() for pair in pairs for kind in pair}
    )
    known = catalogue(config.assets)
    return [
        (colour, kind)
        for colour in config.colours
        for kind in named
        if colour in known[kind].colours
    ]
