"""Contrasts of rendered scenes: every field by hand, phrases by their own words."""

import dataclasses

import pytest

from ablate2tune import files
from ablate2tune.contrasts.contrast import contrasts_hash
from ablate2tune.contrasts.makers.rendered_scenes import caption_spans, scene_contrasts
from ablate2tune.contrasts.reading import read_contrasts
from ablate2tune.errors import UserError


@pytest.mark.parametrize(
    ("text", "relation", "expected"),
    [
        ("a cat behind a chair", "behind", ["a cat", "behind", "a chair"]),
        (
            "an orange ball in front of a cup from the cup's point of view",
            "in front of",
            ["an orange ball", "in front of", "a cup"],
        ),
        (
            "a car left of a cat as seen in the picture",
            "left of",
            ["a car", "left of", "a cat"],
        ),
        (
            "a cup between a red car and a cat",
            "between",
            ["a cup", "between", "a red car", "a cat"],
        ),
        # The word inside another does not count.
        ("a nearby cup near a cat", "near", ["a nearby cup", "near", "a cat"]),
    ],
)
def test_phrases_by_their_own_words(text, relation, expected):
    spans = caption_spans(text, relation)
    names = ["subject", "relation", "object", "third"][: len(expected)]
    assert [text[slice(*spans[name])] for name in names] == expected
    assert len(spans) == len(names)


def test_a_caption_without_its_relation():
    with pytest.raises(UserError, match="'a cat and a chair': does not state 'behind'"):
        caption_spans("a cat and a chair", "behind")


def test_a_scene_as_a_contrast(make_records):
    record = make_records(1)[0]
    (found,) = scene_contrasts([record]).examples
    assert (found.id, found.cluster, found.split) == (record.scene_id, "0000", "train")
    assert found.text == record.text
    assert found.texts == {"true": record.text, "target": record.foil,
                           "control": record.foil_colour}  # fmt: skip
    assert found.phrase("relation") == record.relation
    assert (
        found.phrase("relation", "target")
        == record.foil.split(record.subject)[1].split(" a")[0].strip()
    )
    assert found.phrase("subject", "control") == record.foil_colour.split(f" {record.relation}")[0]
    assert found.phrase("nothing") is None
    assert found.payload.read_bytes() == record.image_path.read_bytes()
    assert found.facts["subject"] == record.subject


def test_a_rendered_folder_is_known(make_records):
    records = make_records(2)
    folder = records[0].folder
    files.write_jsonl(folder / "metadata.jsonl", [record.row for record in records])
    found = read_contrasts(folder)
    assert list(found.examples) == list(scene_contrasts(records).examples)
    named = {"target": "spatial relations", "control": "colours"}
    assert all(example.foils == named for example in found.examples)
    assert len(found.of("train")) == 4 and not found.of("test")


def test_other_folders_are_not(tmp_path):
    with pytest.raises(UserError, match=r"holds no contrasts: neither .*rendered scenes"):
        read_contrasts(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        read_contrasts(tmp_path / "absent")


def test_the_hash_sees_texts_phrases_and_pictures(make_records):
    records = make_records(1)
    (one, _) = scene_contrasts(records).examples
    whole = contrasts_hash([one])
    assert contrasts_hash([dataclasses.replace(one, facts={})]) == whole
    others = [
        dataclasses.replace(one, texts={**one.texts, "control": "a cat"}),
        dataclasses.replace(one, spans={}),
        dataclasses.replace(one, cluster="other"),
        dataclasses.replace(one, payload=records[1].image_path),
    ]
    assert len({whole, *(contrasts_hash([other]) for other in others)}) == 5
