"""The first groups of the plain world stay as they were, whatever else is added to it.

`shipped/` holds the first twelve scenes of `recipes/testbed.yaml` at 64 pixels, as rendered with
bpy 5.0.1 before the first checkpoints were made. Captions, masks and depth are compared byte by
byte; pictures may differ by 1/255, since the denoiser's repeats do.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from ablate2tune.recipe import load_recipe
from ablate2tune.scenes.dataset.records import load_images, read_dataset
from ablate2tune.scenes.rendering.render import render_dataset

SHIPPED = Path(__file__).with_name("shipped")
RECIPE = Path(__file__).parents[2] / "recipes" / "testbed.yaml"


@pytest.fixture(scope="module")
def rendered(blender, tmp_path_factory):
    recipe = load_recipe(RECIPE, ["scenes.images=12", "scenes.test_images=0", "scenes.size=64"])
    folder = tmp_path_factory.mktemp("shipped") / "set"
    return folder, render_dataset(recipe.scenes, recipe.seed, folder)


def test_every_column_and_caption(rendered):
    new = [json.loads(line) for line in (rendered[0] / "metadata.jsonl").open()]
    old = [json.loads(line) for line in (SHIPPED / "metadata.jsonl").open()]
    assert len(new) == len(old) == 12
    for row, shipped in zip(new, old, strict=True):
        assert {key: row[key] for key in shipped} == shipped


@pytest.mark.parametrize("kind", ["masks", "depth"])
def test_masks_and_depth(rendered, kind):
    names = sorted(path.name for path in (SHIPPED / kind).iterdir())
    assert len(names) == 12
    for name in names:
        assert (rendered[0] / kind / name).read_bytes() == (SHIPPED / kind / name).read_bytes()


def test_pictures(rendered):
    folder, summary = rendered
    if summary.blender != ["5.0.1"]:
        pytest.skip(f"the shipped pictures were made with 5.0.1, this is {summary.blender}")
    pictures = [load_images(read_dataset(f)).astype(int) for f in (folder, SHIPPED)]
    assert np.abs(pictures[0] - pictures[1]).max() <= 1
