from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from placing import place

from ablate2tune.compare.judge_error import calibrate, large_error
from ablate2tune.errors import UserError
from ablate2tune.scenes.dataset.records import SceneRecord
from ablate2tune.statistics.resampling import Resampling

HOW = Resampling(seed=0, bootstrap=500, confidence=0.95)
LEFT, RIGHT = (6, 22, 26, 44, 5.5), (36, 20, 58, 42, 5.6)


def record(relation: str, group: int) -> SceneRecord:
    return SceneRecord(
        file_name="", text=f"a red ball {relation} a blue cube", relation=relation,
        subject="ball", subject_colour="red", object="cube", object_colour="blue",
        foil="", foil_colour="", foil_object="", pair_text="", scene_id=f"{group}-{relation}",
        group_id=str(group), seed=0, split="test", folder=Path(),
    )  # fmt: skip


class Prepared:
    """A judge that says what it was told to."""

    labels = ("red ball", "blue cube", "green cube")

    def __init__(self, *found):
        self.found = list(found)

    def describe(self):
        return {"kind": "prepared"}

    def detect(self, images, batch_size=64):
        assert len(images) == len(self.found)
        return self.found


def test_error_rates_by_hand():
    ball_left, cube_right = place("red ball", *LEFT), place("blue cube", *RIGHT)
    ball_right, cube_left = place("red ball", *RIGHT), place("blue cube", *LEFT)
    judge = Prepared(
        [ball_left, cube_right],  # as it is
        [ball_left, cube_right],  # the relation is read wrongly
        [ball_left, place("green cube", *RIGHT)],  # the cube's colour is read wrongly
        [ball_right, cube_left, place("red ball", 40, 0, 50, 8, 5.5)],  # right, with a duplicate
    )
    records = [
        record("left of", 0),
        record("right of", 0),
        record("left of", 1),
        record("right of", 1),
    ]
    result = calibrate(judge, records, np.zeros((4, 64, 64, 3), np.uint8), HOW)
    assert result.images == 4
    assert (result.object_recall.value, result.object_recall.n) == (7 / 8, 8)
    assert (result.object_precision.value, result.object_precision.n) == (7 / 9, 9)
    assert result.both_found.value == 3 / 4
    assert (result.relation_error.value, result.relation_error.n) == (1 / 3, 3)
    assert result.relation_unread.value == 0
    assert result.missed.value == 2 / 4, "the wrongly read relation and the wrongly read colour"
    assert result.accepted.value == 1 / 4, "the wrongly read relation is the opposite one"
    assert (result.verdict_error.value, result.verdict_error.n) == (3 / 8, 8)
    assert result.per_relation["left of"].value == 0 and result.per_relation["left of"].n == 1
    assert result.per_relation["right of"].value == 1 / 2
    assert set(asdict(result)["verdict_error"]) == {"value", "low", "high", "n"}


def test_a_large_error_is_said():
    def calibration(error: float | None) -> dict:
        return {"images": 300, "verdict_error": {"value": error}}

    assert large_error(calibration(0.005)) is None and large_error(calibration(None)) is None
    said = large_error(calibration(0.34))
    assert said is not None and "34 % of its verdicts on 300 rendered scenes" in said


def test_bad_input():
    with pytest.raises(UserError, match=r"scenes\.test_images: there are no rendered test scenes"):
        calibrate(Prepared(), [], np.zeros((0, 64, 64, 3), np.uint8), HOW)
    judge = Prepared([])
    judge.labels = ("red ball",)
    with pytest.raises(UserError, match="the judge does not know 'blue cube'"):
        calibrate(judge, [record("left of", 0)], np.zeros((1, 64, 64, 3), np.uint8), HOW)
