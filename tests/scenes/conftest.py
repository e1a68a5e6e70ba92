"""Shared by the scene tests: Blender's pure modules, a set by hand."""

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from blender_scripts import load_blender_script
from PIL import Image


@pytest.fixture(scope="session")
def relations() -> ModuleType:
    return load_blender_script("relations")


@pytest.fixture(scope="session")
def pictures() -> ModuleType:
    return load_blender_script("pictures")


ROWS = [
    {
        "file_name": f"images/g000000-{letter}.png",
        "text": f"a red ball {relation} a blue cube",
        "relation": relation,
        "subject": "ball",
        "subject_colour": "red",
        "object": "cube",
        "object_colour": "blue",
        "foil": f"a red ball {opposite} a blue cube",
        "foil_colour": f"a green ball {relation} a blue cube",
        "foil_object": f"a red cone {relation} a blue cube",
        "pair_text": "a red ball and a blue cube",
        "scene_id": f"g000000-{letter}",
        "group_id": "g000000",
        "seed": 3,
        "split": "train",
    }
    for letter, relation, opposite in (("a", "left of", "right of"), ("b", "right of", "left of"))
]


@pytest.fixture
def set_by_hand(tmp_path: Path) -> Path:
    """A data set of two 4 x 4 scenes: rising greys, one subject and one object pixel, depths."""
    folder = tmp_path / "set"
    for name in ("images", "masks", "depth"):
        (folder / name).mkdir(parents=True)
    for number, row in enumerate(ROWS):
        name = f"{row['scene_id']}.png"
        image = np.full((4, 4, 3), 100 * number, np.uint8)
        image[0, 1] = (255, 0, 7)
        mask = np.zeros((4, 4), np.uint8)
        mask[0, 1], mask[2, 3] = 1, 2
        depth = np.full((4, 4), 2500, np.uint16)
        depth[3, 0] = 65535
        Image.fromarray(image).save(folder / "images" / name)
        Image.fromarray(mask).save(folder / "masks" / name)
        Image.fromarray(depth).save(folder / "depth" / name)
    text = "".join(json.dumps(row) + "\n" for row in ROWS)
    (folder / "metadata.jsonl").write_text(text)
    return folder
