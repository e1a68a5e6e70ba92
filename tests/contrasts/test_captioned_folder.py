"""Contrasts of the user's own: what a folder may hold, and each fault by its line."""

import json
from pathlib import Path

import pytest
from PIL import Image

from ablate2tune.contrasts.phrases import stated
from ablate2tune.contrasts.reading import read_contrasts
from ablate2tune.errors import UserError

ROW = {"file_name": "a.png", "text": "a red cube", "foil": "a blue cube"}


@pytest.fixture
def folder(tmp_path) -> Path:
    place = tmp_path / "colours"
    (place / "more").mkdir(parents=True)
    for name in ("a.png", "b.png", "more/a.png"):
        Image.new("RGB", (8, 8), "red").save(place / name)
    return place


def write(folder: Path, *rows: dict) -> None:
    (folder / "contrasts.jsonl").write_text("\n".join(json.dumps(row) for row in rows))


def test_rows_as_contrasts(folder):
    write(
        folder,
        {**ROW, "control": "a red ball", "group": 7,
         "spans": {"text": {"colour": "red"}, "foil": {"colour": [2, 6]}}},
        {**ROW, "file_name": "more/a.png", "control": "a red ball", "split": "test",
         "spans": {"kind": "a"}, "text": "red is a cube", "foil": "blue is a cube"},
    )  # fmt: skip
    found = read_contrasts(folder)
    assert {one.foils["target"] for one in found.examples} == {"colours"}, "the folder's name"
    one, other = found.examples
    assert (one.id, one.cluster, one.split) == ("a", "7", "train")
    assert one.texts == {"true": "a red cube", "target": "a blue cube", "control": "a red ball"}
    assert one.spans == {"true": {"colour": (2, 5)}, "target": {"colour": (2, 6)}}
    assert stated(one) == ("red", "blue")
    assert (other.id, other.cluster, other.split) == ("more/a", "more/a", "test")
    assert other.payload == folder / "more" / "a.png"


def test_without_spans_the_differing_words_are_what_is_stated(folder):
    write(folder, {**ROW, "text": "two big red cubes", "foil": "three small red cubes"})
    found = read_contrasts(folder)
    assert "control" not in found.examples[0].texts
    assert stated(found.examples[0]) == ("two big", "three small")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": None}, r":2: 'text' is missing; contrasts.jsonl needs file_name, text and foil"),
        ({"foil": "a red cube"}, ":2: the foil is the text itself; write a false caption"),
        ({"control": "a red cube"}, ":2: the control is the text itself"),
        ({"control": "a red ball"}, ":2: has a control foil, the first line has none"),
        ({"file_name": "c.png"}, r":2: .*c.png: no such picture"),
        ({"file_name": "../b.png"}, ":2: file_name '../b.png' leads out of the folder"),
        ({"file_name": "more/../../b.png"}, ":2: file_name .* leads out of the folder"),
        ({"file_name": "/b.png"}, ":2: file_name '/b.png' leads out of the folder"),
        ({"id": "a"}, ":2: has the id 'a' of line 1; give each line an `id`"),
        ({"id": True}, ":2: id is True; write a name"),
        ({"foils": "x"}, ":2: no key 'foils'; did you mean 'foil'?"),
        ({"split": "val"}, ":2: split is 'val'; write 'train' or 'test'"),
        ({"spans": ["red"]}, ":2: spans is no object"),
        ({"spans": {"colour": "red"}}, ":2: phrase 'colour': 'red' is 0 times in 'a blue cube'"),
        ({"spans": {"text": {"a": "cub"}}}, ":2: phrase 'a': 'cub' is 0 times in 'a red cube'"),
        ({"spans": {"text": {"x": [3, 99]}}}, r":2: phrase 'x': \[3, 99\] is no place in"),
        ({"spans": {"control": {"x": "a"}, "text": {}}}, ":2: spans of 'control' belongs to none"),
    ],
)
def test_faults_by_their_line(folder, changes, message: str):
    row = {**ROW, "file_name": "b.png", **changes}
    write(folder, ROW, {key: value for key, value in row.items() if value is not None})
    with pytest.raises(UserError, match=message) as raised:
        read_contrasts(folder)
    assert "\n" not in str(raised.value)


def test_a_linked_picture_is_in_the_folder(folder, tmp_path):
    """Links are followed (docs/running-again.md): a picture need not be copied."""
    Image.new("RGB", (8, 8), "blue").save(tmp_path / "elsewhere.png")
    (folder / "c.png").symlink_to(tmp_path / "elsewhere.png")
    write(folder, {**ROW, "file_name": "c.png"}, {**ROW, "file_name": "more/../b.png"})
    first, second = read_contrasts(folder).examples
    assert first.payload.read_bytes() == (tmp_path / "elsewhere.png").read_bytes()
    assert second.payload == folder / "b.png"


def test_an_empty_file(folder):
    write(folder)
    with pytest.raises(UserError, match=r"contrasts.jsonl: is empty"):
        read_contrasts(folder)
