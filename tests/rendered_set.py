"""A small recipe on a tiny model, and its data set as render-data leaves it when it is done."""

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from ablate2tune import files
from ablate2tune.recipe import Recipe
from ablate2tune.scenes.layouts.scene_sampling import group_count, relation_of, split_of
from ablate2tune.scenes.rendering.resume import PICTURES, SCENE_SCHEMA, TWINS
from ablate2tune.scenes.vocabulary import OPPOSITE, caption

RECIPE = Path(__file__).parents[1] / "recipes" / "flux1-dev.yaml"
SMALL = [
    "name=tiny", "model.dtype=float32", "model.device=cpu", "model.height=32", "model.width=32",
    "model.max_sequence_length=16", "scenes.images=24", "scenes.test_images=4", "scenes.size=32",
    "scenes.samples=1", "scenes.world=plain", "scenes.environments=[plain]",
    "scenes.bystanders=0", "scenes.captions={}", "scenes.objects=[ball, cube]",
    "scenes.colours=[red, green, blue]",
    "scenes.holdout=0.5", "localize.groups=6", "localize.calibration_groups=3",
    "localize.top_blocks=1", "localize.batch_size=12", "localize.bootstrap=100",
    "train.if_no_skill=all", "train.rank=2", "train.steps=2", "train.batch_size=2",
    "train.validation_images=2", "train.sample_prompts=1", "compare.prompts=6",
    "compare.plain_prompts=2", "compare.steps=1", "compare.calibration_images=4",
    "compare.grid_rows=2", "compare.bootstrap=100", "compare.wandb=off",
]  # fmt: skip


def write_rendered(recipe: Recipe) -> None:
    """A data set as render-data leaves it when it is done: pictures of noise, whole sidecars."""
    rng = np.random.default_rng(0)
    scenes, folder = recipe.scenes, recipe.data_folder
    for index in range(group_count(scenes)):
        first = relation_of(scenes, index)
        colour, other = (str(c) for c in rng.permutation(scenes.colours)[:2])
        for letter, relation in zip(TWINS, (first, OPPOSITE[first]), strict=True):
            name = f"g{index:06d}-{letter}"
            digests = {}
            for kind in PICTURES:
                path = folder / kind / f"{name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(path)
                digests[kind] = hashlib.sha256(path.read_bytes()).hexdigest()
            record = {
                "file_name": f"images/{name}.png", "relation": relation, "scene_id": name,
                "text": caption(colour, "ball", relation, other, "cube"),
                "subject": "ball", "subject_colour": colour, "object": "cube",
                "object_colour": other, "seed": recipe.seed, "group_id": name[:-2],
                "foil": caption(colour, "ball", OPPOSITE[relation], other, "cube"),
                "foil_colour": caption("black", "ball", relation, other, "cube"),
                "foil_object": caption(colour, "cone", relation, other, "cube"),
                "pair_text": caption(colour, "ball", None, other, "cube"),
                "split": split_of(scenes, index),
            }  # fmt: skip
            sidecar = {
                "schema": SCENE_SCHEMA, "scene_id": name, "attempt": 0, "sha256": digests,
                "record": record, "made_with": {"blender": "none"}, "rejections": [],
            }  # fmt: skip
            files.write_json(folder / "sidecars" / f"{name}.json", sidecar)
