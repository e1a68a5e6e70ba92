import json
from collections import Counter

import pytest

from ablate2tune.errors import UserError
from ablate2tune.scenes.layouts import scene_sampling as sampling
from ablate2tune.scenes.layouts.scene_sampling import group_count, sample_group, split_of
from ablate2tune.scenes.layouts.stacking import stack
from ablate2tune.scenes.scenes_config import ScenesConfig
from ablate2tune.scenes.vocabulary import KINDS, OPPOSITE, is_holdout

NINE = ScenesConfig(images=360, test_images=120, objects=list(KINDS))


@pytest.fixture(scope="module")
def groups():
    return [sample_group(NINE, 4, i, 0, split_of(NINE, i)) for i in range(group_count(NINE))]


def records(groups):
    return [twin["record"] for group in groups for twin in group["twins"]]


def test_sampling_follows_from_its_arguments(groups):
    again = sample_group(NINE, 4, 17, 0, "train")
    assert again == groups[17]
    assert json.loads(json.dumps(again)) == again
    assert sample_group(NINE, 5, 17, 0, "train") != again
    assert sample_group(NINE, 4, 17, 1, "train")["camera"] != again["camera"]


def test_the_pair_stays_for_ten_attempts_and_then_changes():
    attempts = [sample_group(NINE, 4, 0, attempt, "train") for attempt in range(11)]
    pairs = [record["pair_text"] for record in records(attempts)[::2]]
    assert len(set(pairs[:10])) == 1
    assert pairs[10] != pairs[0]


def test_every_relation_is_as_frequent_as_its_opposite(groups):
    for split, each in (("train", 60), ("test", 20)):
        counts = Counter(r["relation"] for r in records(groups) if r["split"] == split)
        assert counts == dict.fromkeys(OPPOSITE, each)


def test_splits_share_no_pair(groups):
    for record in records(groups):
        things = (
            f"{record['subject_colour']} {record['subject']}",
            f"{record['object_colour']} {record['object']}",
        )
        assert is_holdout(*things, NINE.holdout) == (record["split"] == "test")
        assert record["subject_colour"] != record["object_colour"]


def test_foils_change_one_thing(groups):
    for group in groups:
        one, two = records([group])
        assert one["foil"] == two["text"] and two["foil"] == one["text"]
        assert two["relation"] == OPPOSITE[one["relation"]]
        assert one["pair_text"] == two["pair_text"]
        for record in (one, two):
            colour, kind = record["foil_colour"], record["foil_object"]
            assert len(colour.split()) == len(kind.split()) == len(record["text"].split())
            for text, places in ((colour, {0, 1}), (kind, {2})):
                words = zip(text.split(), record["text"].split(), strict=True)
                changed = {i for i, (new, old) in enumerate(words) if new != old}
                assert changed and changed <= places


def test_twins_exchange_places_or_the_subject_moves_from_on_to_under(groups):
    moved = 0
    for group in groups:
        first, second = (twin["places"] for twin in group["twins"])
        spots = [[(p["x"], p["y"]) for p in (t["a"], t["b"])] for t in (first, second)]
        kinds = {key: thing["kind"] for key, thing in group["objects"].items()}
        on = {t["record"]["relation"]: t["places"]["a"]["on"] for t in group["twins"]}
        if "on top of" in on and kinds["b"] in ("table", "chair"):
            moved += 1
            assert spots[0] == spots[1]
            assert on == {"on top of": "b", "underneath": None}
            assert group["objects"]["a"]["scale"] < 0.65
        else:
            assert spots[0] == spots[1][::-1]
    assert moved > 10


@pytest.mark.parametrize(
    "subject, object_, why",
    [
        ("table", "ball", "a table cannot rest on a ball"),
        ("chair", "cup", "a chair cannot rest on a cup"),
        ("cone", "car", "a car cannot rest on a cone"),
        ("car", "ball", "a car cannot rest on a ball"),
    ],
)
def test_impossible_stacks_say_why(subject, object_, why):
    assert stack(subject, object_) == why


@pytest.mark.parametrize("subject, object_", [("cup", "table"), ("ball", "chair"), ("cup", "car")])
def test_possible_stacks(subject, object_):
    assert not isinstance(stack(subject, object_), str)


def test_impossible_pairs_are_counted_and_redrawn(groups):
    refused = Counter(reason for group in groups for reason in group["refused"])
    assert sum(refused.values()) > 20
    for group in groups:
        kinds = [group["objects"][key]["kind"] for key in "ab"]
        vertical = group["twins"][0]["relation"] in ("on top of", "underneath")
        assert not (vertical and isinstance(stack(*kinds), str))
        assert vertical or not group["refused"]


def test_no_possible_pair_is_an_error_with_counts(monkeypatch):
    monkeypatch.setattr(sampling, "stack", lambda a, b: f"a {a} cannot rest on a {b}")
    config = ScenesConfig(images=2, objects=["table"], relations=["on top of", "underneath"])
    with pytest.raises(UserError, match=r"a table cannot rest on a table \(200\)"):
        sample_group(config, 0, 0, 0, "train")


def test_no_pair_left_for_a_split():
    config = ScenesConfig(images=2, test_images=2, holdout=0.0)
    with pytest.raises(UserError, match="no object pair is left for the test split"):
        sample_group(config, 0, 1, 0, "test")
