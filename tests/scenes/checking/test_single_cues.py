import random

import pytest

from ablate2tune.scenes.checking.single_cues import CueScene, cue_check

LOW, HIGH = (0.1, 0.5, 0.4, 0.9), (0.1, 0.1, 0.4, 0.5)
RELATIONS = "in front of", "behind"


def groups(boxes, relations=RELATIONS, colours=("red", "blue"), count=30):
    """`boxes(rng)` gives subject's and object's boxes of the first twin, then of the second."""
    rng = random.Random(5)
    scenes = []
    for k in range(count):
        for relation, (one, other) in zip(relations, boxes(rng), strict=True):
            scenes.append(CueScene(f"g{k:03d}", relation, one, other, colours))
    return cue_check(scenes)


def test_a_lower_edge_that_is_always_the_nearer_ones_is_found_and_named():
    check = groups(lambda rng: [(LOW, HIGH), (HIGH, LOW)])
    assert check.by_pair[RELATIONS]["lower edge"] == (1.0, 1.0, 1.0, 60)
    assert {cue for _, cue, _ in check.telling()} == {
        "lower edge", "upper edge", "height of the middle"
    }  # fmt: skip
    assert "lower edge 100.0%" in check.lines()[1]


def test_an_edge_that_goes_either_way_leaves_chance():
    def either(rng):
        pairs = [(LOW, HIGH), (HIGH, LOW)]
        return pairs if rng.random() < 0.5 else pairs[::-1]

    check = groups(either, count=200)
    assert check.by_pair[RELATIONS]["lower edge"].accuracy == pytest.approx(0.5, abs=0.1)
    assert not check.telling()


def test_what_a_relation_says_is_no_fault_of_the_set():
    # Eighths, so that equal sizes are equal numbers.
    left, right = (0.125, 0.125, 0.25, 0.25), (0.625, 0.125, 0.75, 0.25)
    check = groups(lambda rng: [(left, right), (right, left)], ("left of", "right of"))
    assert check.by_pair["left of", "right of"]["side of the middle"].accuracy == 1.0
    assert not check.telling() and "(side of the middle 100.0%)" in check.lines()[1]


def test_few_scenes_are_not_judged():
    assert not groups(lambda rng: [(LOW, HIGH), (HIGH, LOW)], count=9).telling()


def test_what_is_not_known_is_left_out():
    assert "occluder" not in groups(lambda rng: [(LOW, HIGH)] * 2).by_pair[RELATIONS]
