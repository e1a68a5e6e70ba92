"""Animals stand on the slats of a bench: their thin legs do not go between them, nor through."""

import pytest

from ablate2tune.scenes.dataset.records import read_dataset
from ablate2tune.scenes.rendering.render import render_dataset
from ablate2tune.scenes.scenes_config import ScenesConfig

pytestmark = pytest.mark.usefixtures("blender")
PROMPTS = ["a cat standing on a bench", "a bird perching on a bench"]
CONFIG = ScenesConfig(
    world="natural", prompts=PROMPTS, images=32, size=64, samples=1, workers=1, holdout=0.0,
    environments=["lawn"], max_attempts=200,
)  # fmt: skip
SEAT = 0.45
"""Height of every bench's seat (metres), by blender_scenes/assets/bench.py."""


def test_feet_are_at_the_height_of_the_seat(tmp_path):
    render_dataset(CONFIG, 4, tmp_path / "set")
    standing = [r for r in read_dataset(tmp_path / "set") if r.relation == "on top of"]
    assert len(standing) >= 16
    for record in standing:
        notes = record.sidecar()["objects"]
        assert notes["object"]["kind"] == "bench" and notes["object"]["scale"] == 1.0
        assert notes["subject"]["z"] == pytest.approx(SEAT, abs=0.015), record.scene_id
