"""The check of a set on disk, on traced blocks with captions that are right and wrong."""

import json

import numpy as np
import pytest
from PIL import Image
from traced import Block, camera, trace

from ablate2tune.errors import UserError
from ablate2tune.recipe import Recipe
from ablate2tune.scenes.checking.claims import Claim, read_claim
from ablate2tune.scenes.checking.evidence import check_captions
from ablate2tune.scenes.dataset.records import SceneRecord
from ablate2tune.scenes.stage import check_data

RIGHT = {
    "text": "a red cube left of a blue cube",
    "foil": "a red cube right of a blue cube",
    "foil_swapped": "a blue cube left of a red cube",
    "foil_colour": "a green cube left of a blue cube",
    "foil_object": "a red ball left of a blue cube",
}


@pytest.fixture
def scene(tmp_path):
    """Writes one scene, a red cube left of a blue cube, with any captions."""

    def write(**captions):
        words = {**RIGHT, **captions}
        bodies = {
            "subject": [Block(-0.7, 0, 0, 0.6, 0.6, 0.6)],
            "object": [Block(0.7, 0, 0, 0.6, 0.6, 0.6)],
        }
        view = camera()
        mask, depth = trace(bodies, view)
        for name in ("images", "masks", "depth", "sidecars"):
            (tmp_path / name).mkdir(exist_ok=True)
        picture = np.zeros((64, 64, 3), np.uint8)
        Image.fromarray(picture).save(tmp_path / "images/g000000-a.png")
        Image.fromarray(mask).save(tmp_path / "masks/g000000-a.png")
        millimetres = np.round(depth * 1000).astype(np.uint16)
        Image.fromarray(millimetres).save(tmp_path / "depth/g000000-a.png")
        row = {
            **words, "file_name": "images/g000000-a.png", "relation": "left of",
            "subject": "cube", "subject_colour": "red", "object": "cube", "object_colour": "blue",
            "pair_text": "a red cube and a blue cube", "scene_id": "g000000-a",
            "group_id": "g000000", "seed": 1, "split": "train",
        }  # fmt: skip
        note = {
            "record": row, "camera": view, "mask_values": {"subject": 1, "object": 2},
            "objects": {
                "subject": {"kind": "cube", "colour": "red", "box": [0.1, 0.4, 0.3, 0.6]},
                "object": {"kind": "cube", "colour": "blue", "box": [0.7, 0.4, 0.9, 0.6]},
            },
        }  # fmt: skip
        (tmp_path / "sidecars/g000000-a.json").write_text(json.dumps(note))
        (tmp_path / "metadata.jsonl").write_text(json.dumps(row) + "\n")
        columns = {k: v for k, v in row.items() if k in SceneRecord.__dataclass_fields__}
        return SceneRecord(**columns, folder=tmp_path)

    return write


def test_a_right_scene_is_confirmed_and_its_foils_refused(scene):
    evidence = check_captions([scene()])
    assert evidence.counts() == {
        "left of": {
            "confirmed": 1, "contradicted": 0, "undecidable": 0,
            "foils false": 4, "foils true": 0, "foils undecidable": 0,
        }
    }  # fmt: skip
    assert not evidence.scenes[0].wrong


@pytest.mark.parametrize(
    "text",
    [
        "a red cube right of a blue cube",
        "a red cube behind a blue cube",
        "a red cube on top of a blue cube",
        "a blue cube left of a red cube",
        "a green cube left of a blue cube",
    ],
)
def test_a_wrong_caption_is_contradicted(scene, text):
    (found,) = check_captions([scene(text=text)]).scenes
    assert found.caption.verdict == "contradicted" and found.wrong


def test_a_foil_that_is_true_is_found(scene):
    (found,) = check_captions([scene(foil_swapped="a blue cube right of a red cube")]).scenes
    assert found.foils["foil_swapped"].verdict == "confirmed" and found.wrong


def test_the_command_writes_its_findings_and_refuses_a_wrong_set(scene, tmp_path):
    recipe = Recipe.model_validate(
        {"name": "x", "model": {"path": "none"}, "scenes": {"folder": str(tmp_path)}}
    )
    said = []
    terminal = type("Terminal", (), {"say": lambda self, line: said.append(line)})()
    scene()
    check_data(recipe, terminal)
    assert said[-1].split() == ["left", "of", "1", "0", "0", "4", "0", "0"]
    held = json.loads((tmp_path / "evidence.json").read_text())
    assert held["scenes"][0]["caption"]["verdict"] == "confirmed"
    scene(text="a red cube right of a blue cube")
    with pytest.raises(UserError, match=r"1 of 1 pictures contradict .* g000000-a first"):
        check_data(recipe, terminal)


def test_what_captions_claim():
    there = {
        "subject": {"kind": "person", "colour": "red"},
        "object": {"kind": "cat", "colour": "grey"},
        "third": {"kind": "ball", "colour": "red"},
    }
    said = Claim("between", ("subject", "object", "third"))
    assert read_claim("a person in red between a grey cat and a red ball", there) == said
    text = "a person in red between a grey and white cat and a red ball"
    assert read_claim(text, there) == said, "two colours are of one thing"
    assert read_claim("a grey cat next to a red ball", there) == Claim(
        "next to", ("object", "third")
    )
    assert read_claim("a red cat next to a red ball", there) is None
    with pytest.raises(ValueError, match="states no relation"):
        read_claim("a grey cat and a red ball", there)


def test_a_caption_without_a_relation(scene):
    with pytest.raises(UserError, match=r"g000000-a.json: 'two cubes' states no relation"):
        check_captions([scene(text="two cubes")])


def test_a_sidecar_without_a_camera(scene, tmp_path):
    record = scene()
    note = json.loads(record.sidecar_path.read_text())
    del note["camera"]
    record.sidecar_path.write_text(json.dumps(note))
    with pytest.raises(UserError, match=r"g000000-a.json: the sidecar lacks 'camera'"):
        check_captions([record])
