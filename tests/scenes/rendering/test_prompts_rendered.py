"""The six sentences of docs/scenes.md, rendered: each picture shows what it says."""

import pytest

from ablate2tune.scenes.checking.evidence import check_captions
from ablate2tune.scenes.dataset.records import read_dataset
from ablate2tune.scenes.rendering.render import render_dataset
from ablate2tune.scenes.scenes_config import ScenesConfig

pytestmark = [pytest.mark.usefixtures("blender"), pytest.mark.slow]
PROMPTS = [
    "a cat standing behind a chair",
    "a ball underneath a table",
    "a person in front of a building",
    "a dog sitting on top of a car",
    "a dog in front of a fireplace",
    "a cup underneath a shelf",
]
CONFIG = ScenesConfig(
    world="natural", prompts=PROMPTS, images=12, size=128, samples=1, workers=1, holdout=0.0,
    environments=["room", "lawn"], max_attempts=200,
)  # fmt: skip


def test_every_picture_shows_its_sentence_and_no_foil(tmp_path):
    render_dataset(CONFIG, 1, tmp_path / "set")
    records = read_dataset(tmp_path / "set")
    assert [record.more["prompt"] for record in records][::2] == PROMPTS
    for scene in check_captions(records).scenes:
        assert scene.caption.verdict == "confirmed", scene
        assert not any(foil.verdict == "confirmed" for foil in scene.foils.values()), scene
