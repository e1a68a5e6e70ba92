import json
import random

import pytest

from ablate2tune.scenes.checking.priors import prior_check
from ablate2tune.scenes.dataset.records import COLUMNS, SceneRecord

BOXES = {
    "low": [0.1, 0.5, 0.4, 0.9],
    "high": [0.1, 0.1, 0.4, 0.5],
    "large": [0.0, 0.0, 0.9, 0.9],
    # Eighths, so that equal sizes are equal numbers.
    "left": [0.0, 0.5, 0.125, 0.75],
    "right": [0.875, 0.5, 1.0, 0.75],
    "left of the middle": [0.375, 0.5, 0.5, 0.75],
    "right of the middle": [0.5, 0.5, 0.625, 0.75],
}


@pytest.fixture
def scenes(tmp_path):
    """Makes groups of twins from (relation, subject, subject's box, object's box) of each twin."""
    (tmp_path / "sidecars").mkdir()

    def make(groups):
        records = []
        for number, twins in enumerate(groups):
            for letter, (relation, subject, *where) in zip("ab", twins, strict=True):
                box, other = (*where, "low")[:2]
                row = dict.fromkeys(COLUMNS, "x") | {
                    "relation": relation, "subject": subject, "object": "cube",
                    "scene_id": f"g{number}-{letter}", "group_id": f"g{number:03d}", "seed": 0,
                }  # fmt: skip
                record = SceneRecord(**row, folder=tmp_path)
                boxes = {"subject": {"box": BOXES[box]}, "object": {"box": BOXES[other]}}
                record.sidecar_path.write_text(json.dumps({"objects": boxes}))
                records.append(record)
        return records

    return make


def test_twins_with_the_same_words_and_frame_leave_chance(scenes):
    groups = [[("left of", s, "low"), ("right of", s, "low")] for s in ("ball", "cone") * 10]
    check = prior_check(scenes(groups))
    assert check.caption == check.layout == (0.5, 0.5, 0.5, 40)


def test_a_word_that_gives_the_relation_away_is_found(scenes):
    groups = [[("left of", "ball", "low"), ("right of", "cone", "low")] for _ in range(20)]
    check = prior_check(scenes(groups))
    assert check.caption == (1.0, 1.0, 1.0, 40) and check.layout.accuracy == 0.5


def test_a_size_that_gives_the_relation_away_is_found_and_named(scenes):
    groups = [[("in front of", "ball", "large"), ("behind", "ball", "low")] for _ in range(20)]
    groups += [[("left of", "ball", "low"), ("right of", "ball", "low")] for _ in range(20)]
    check = prior_check(scenes(groups))
    assert check.caption.accuracy == 0.5 and check.layout.accuracy == 0.75
    told = {pair: guess.accuracy for pair, guess in check.by_relation.items()}
    assert told == {("in front of", "behind"): 1.0, ("left of", "right of"): 0.5}
    features = check.by_feature["in front of", "behind"]
    assert features["subject's size"].accuracy == 1.0 and features["object's size"].accuracy == 0.5
    first, second = check.lines()[3:]
    assert first == (
        "    in front of / behind: 100.0% [100.0%, 100.0%], most by the subject's size "
        "(100.0% alone)"
    )
    assert second == "    left of / right of: 50.0% [50.0%, 50.0%]"


def test_a_place_that_gives_the_relation_away_is_found(scenes):
    groups = [[("above", "ball", "high"), ("below", "ball", "low")] for _ in range(20)]
    features = prior_check(scenes(groups)).by_feature["above", "below"]
    assert features["place down"].accuracy == 1.0
    assert {features[k].accuracy for k in features if k != "place down"} == {0.5}


def test_how_far_the_two_extend_is_no_prior(scenes):
    groups = [[("near", "ball", "left of the middle", "right of the middle"),
               ("far from", "ball", "left", "right")] for _ in range(20)]  # fmt: skip
    assert prior_check(scenes(groups)).layout.accuracy == 0.5


def test_twins_are_resampled_together(scenes):
    """Both twins of a group are guessed rightly or wrongly: as many chances as groups."""
    draw = random.Random(4)
    groups = []
    for _ in range(100):
        one, two = draw.sample(["large", "low"], 2)
        groups.append([("left of", "ball", one), ("right of", "ball", two)])
    guess = prior_check(scenes(groups)).layout
    deviation = (guess.accuracy * (1 - guess.accuracy) / 100) ** 0.5
    assert guess.high - guess.low == pytest.approx(2 * 1.96 * deviation, rel=0.15)


def test_groups_of_one_relation_are_not_counted(scenes):
    groups = [[("between", "ball", "low"), ("between", "cone", "low")] for _ in range(6)]
    check = prior_check(scenes(groups))
    assert check.caption == check.layout == (0.5, 0.5, 0.5, 0) and not check.by_relation
