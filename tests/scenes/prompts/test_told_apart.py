from pathlib import Path

import pytest

from ablate2tune.recipe import load_recipe
from ablate2tune.scenes.prompts.told_apart import alike, lab, lost
from ablate2tune.scenes.scenes_config import ScenesConfig

RECIPE = Path(__file__).parents[3] / "recipes" / "scenes-prompts.yaml"
CONFIG = ScenesConfig(world="natural", objects=["all"], environments=["lawn", "street"])


@pytest.mark.parametrize(
    "rgb, expected",
    [
        # Linear sRGB primaries and a mid grey in CIELAB (D65), from tables.
        ((1.0, 0.0, 0.0), (53.2, 80.1, 67.2)),
        ((0.0, 1.0, 0.0), (87.7, -86.2, 83.2)),
        ((0.0, 0.0, 1.0), (32.3, 79.2, -107.9)),
        ((0.184, 0.184, 0.184), (50.0, 0.0, 0.0)),
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
    ],
)
def test_lab_of_known_colours(rgb, expected):
    assert lab(rgb) == pytest.approx(expected, abs=0.15)


def test_which_colours_are_alike():
    for one, other in (("black", "brown"), ("red", "orange"), ("white", "grey"), ("red", "red")):
        assert alike(one, other) and alike(other, one)
    for one, other in (("red", "green"), ("black", "white"), ("blue", "yellow")):
        assert not alike(one, other)


def test_what_is_lost_on_a_ground():
    assert lost(CONFIG, "grey", "street") and not lost(CONFIG, "red", "street")
    assert not lost(CONFIG, "green", "lawn") and lost(CONFIG, "green", "lawn", aloft=True)


def test_sentences_are_shown_in_colours_that_are_told_apart():
    from ablate2tune.scenes.samplers import sample

    recipe = load_recipe(RECIPE, [])
    for index in range(29):
        group = sample(recipe.scenes, recipe.seed, index, 0, "train")
        colours = [made["colour"] for made in group["objects"].values()]
        assert not any(alike(a, b) for k, a in enumerate(colours) for b in colours[:k])
        assert not any(lost(recipe.scenes, c, group["environment"]) for c in colours)
