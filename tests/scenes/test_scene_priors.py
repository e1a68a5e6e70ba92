import json

import pytest

from ablate2tune.scenes.dataset import COLUMNS, SceneRecord
from ablate2tune.scenes.priors import prior_check

BOXES = {"low": [0.1, 0.5, 0.4, 0.9], "high": [0.1, 0.1, 0.4, 0.5], "large": [0.0, 0.0, 0.9, 0.9]}


@pytest.fixture
def scenes(tmp_path):
    """Makes groups of twins from (relation, subject, subject's box) for each twin."""
    (tmp_path / "sidecars").mkdir()

    def make(groups):
        records = []
        for number, twins in enumerate(groups):
            for letter, (relation, subject, box) in zip("ab", twins, strict=True):
                row = dict.fromkeys(COLUMNS, "x") | {
                    "relation": relation, "subject": subject, "object": "cube",
                    "scene_id": f"g{number}-{letter}", "group_id": f"g{number:03d}", "seed": 0,
                }  # fmt: skip
                record = SceneRecord(**row, folder=tmp_path)
                boxes = {"subject": {"box": BOXES[box]}, "object": {"box": BOXES["low"]}}
                record.sidecar_path.write_text(json.dumps({"objects": boxes}))
                records.append(record)
        return records

    return make


def test_twins_with_the_same_words_and_frame_leave_chance(scenes):
    groups = [[("left of", s, "low"), ("right of", s, "low")] for s in ("ball", "cone") * 10]
    check = prior_check(scenes(groups))
    assert check == (0.5, 0.5, 0.5, 40)


def test_a_word_that_gives_the_relation_away_is_found(scenes):
    groups = [[("left of", "ball", "low"), ("right of", "cone", "low")] for _ in range(20)]
    check = prior_check(scenes(groups))
    assert check.caption == 1.0 and check.layout == 0.5


def test_a_size_that_gives_the_relation_away_is_found(scenes):
    groups = [[("in front of", "ball", "large"), ("behind", "ball", "high")] for _ in range(20)]
    check = prior_check(scenes(groups))
    assert check.caption == 0.5 and check.layout == 1.0


def test_groups_of_one_relation_are_not_counted(scenes):
    groups = [[("between", "ball", "low"), ("between", "cone", "low")] for _ in range(6)]
    assert prior_check(scenes(groups)).caption == 0.5
