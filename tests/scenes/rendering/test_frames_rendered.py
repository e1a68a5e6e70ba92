"""Scenes by an object's own front, rendered: proved from depth, masks and that front alone."""

import json

import numpy as np
import pytest

from ablate2tune.scenes.checking.evidence import check_captions
from ablate2tune.scenes.dataset.records import read_dataset
from ablate2tune.scenes.rendering.render import render_dataset
from ablate2tune.scenes.scenes_config import ScenesConfig
from ablate2tune.scenes.vocabulary import CONTRAST, DIRECTIONS

CONFIG = {
    "world": "natural", "images": 16, "size": 64, "samples": 1, "workers": 1, "holdout": 0.0,
    "frame": "both", "relations": list(DIRECTIONS), "objects": ["chair", "bench", "cube", "ball"],
    "max_attempts": 200,
}  # fmt: skip

pytestmark = pytest.mark.usefixtures("blender")


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frames") / "set"
    render_dataset(ScenesConfig.model_validate(CONFIG), 3, folder)
    return read_dataset(folder)


def test_every_caption_is_true_in_its_frame_and_no_foil(records):
    for scene in check_captions(records).scenes:
        assert scene.caption.verdict == "confirmed", scene
        assert all(foil.verdict == "contradicted" for foil in scene.foils.values()), scene


def test_the_index_tells_the_frame(records):
    lines = (records[0].folder / "metadata.jsonl").read_text().splitlines()
    frames = [json.loads(line)["frame"] for line in lines]
    assert frames == ["camera"] * 8 + ["object"] * 8
    ends = {"camera": " as seen in the picture", "object": "'s point of view"}
    for record, frame in zip(records, frames, strict=True):
        assert record.text.endswith(ends[frame]) and record.foil.endswith(ends[frame])


def test_the_sidecar_holds_fronts_and_slacks(records):
    for record in records[8:]:
        note = record.sidecar()
        second = note["objects"]["object"]
        assert np.linalg.norm(second["front"]) == pytest.approx(1)
        assert second["front"][0] == pytest.approx(np.sin(second["yaw"]))
        assert min(note["slack_own"][record.relation].values()) >= 0
        assert min(note["slack_own"][CONTRAST[record.relation]].values()) < 0
        claim = {"subject": "subject", "relation": record.relation, "object": "object"}
        assert {**claim, "frame": "object"} in note["relations_all"]


def test_a_wrong_front_is_found(records):
    """The same pictures with their fronts reversed contradict every caption."""
    for record in records[8:]:
        held = record.sidecar_path.read_text()
        note = json.loads(held)
        front = note["objects"]["object"]["front"]
        note["objects"]["object"]["front"] = [-part for part in front]
        record.sidecar_path.write_text(json.dumps(note))
        (found,) = check_captions([record]).scenes
        record.sidecar_path.write_text(held)
        assert found.caption.verdict == "contradicted" and found.wrong
