from dataclasses import replace

import pytest
from placing import place

from ablate2tune.compare.relation_reading import read_relation
from ablate2tune.scenes.vocabulary import OPPOSITE

# Subject, object as (left, top, right, bottom, depth): where they lie in rendered scenes.
SCENES = {
    "left of": ((6, 22, 26, 44, 5.5), (36, 20, 58, 42, 5.6)),
    "in front of": ((20, 28, 46, 58, 4.0), (26, 10, 44, 32, 5.3)),
    "on top of": ((20, 6, 42, 32, 4.6), (21, 31, 43, 58, 5.0)),
}


@pytest.mark.parametrize("relation", SCENES)
def test_reads_hand_placed_scenes_and_their_twins(relation):
    (*first_box, first_depth), (*second_box, second_depth) = SCENES[relation]
    first = place("red ball", *first_box, first_depth)
    second = place("blue cube", *second_box, second_depth)
    assert read_relation(first, second) == relation
    assert read_relation(second, first) == OPPOSITE[relation]


def test_depth_alone_tells_behind_from_on_top():
    lower = place("blue cube", 20, 30, 44, 58, 4.8)
    assert read_relation(place("red ball", 22, 8, 42, 32, 4.4), lower) == "on top of"
    assert read_relation(place("red ball", 22, 8, 42, 32, 6.0), lower) == "behind"


@pytest.mark.parametrize(
    ("case", "a", "b"),
    [
        ("side by side but far apart in depth", (6, 22, 26, 44, 4.0), (36, 20, 58, 42, 5.0)),
        ("diagonal", (4, 4, 24, 24, 5.0), (36, 34, 58, 58, 5.0)),
        ("depth in no man's land", (20, 6, 42, 32, 5.4), (21, 31, 43, 58, 5.0)),
        ("one above the other without touching", (20, 2, 42, 16, 4.6), (21, 40, 43, 58, 5.0)),
        ("a nearer one higher up, as if it floated", (4, 4, 20, 20, 4.0), (18, 20, 40, 58, 5.5)),
        ("in the same place", (20, 20, 40, 40, 5.0), (20, 20, 40, 40, 5.0)),
    ],
)
def test_ambiguous_scenes_have_no_relation(case, a, b):
    assert read_relation(place("p", *a), place("q", *b)) is None, case


def spread(detection, amount: float):
    """The same with a spread, its depth in no known unit."""
    return replace(detection, depth=7 * detection.depth - 40, spread=7 * amount)


def test_depths_without_a_unit_are_read_by_the_objects_own_spread():
    for relation, ((*one, near), (*other, far)) in SCENES.items():
        # In depth 1.3 apart, of spreads 0.6 and 1.0: 1.6 of their mean.
        first, second = spread(place("p", *one, near), 0.6), spread(place("q", *other, far), 1.0)
        assert read_relation(first, second) == relation
        assert read_relation(second, first) == OPPOSITE[relation]
    deep = spread(place("q", 26, 10, 44, 32, 5.3), 2.0)  # 1.0 of their mean: they may touch
    assert read_relation(spread(place("p", 20, 28, 46, 58, 4.0), 0.6), deep) == "underneath"


def test_the_nearer_one_may_stand_on_something_and_end_higher():
    low = spread(place("q", 22, 30, 44, 58, 6.0), 0.5)
    assert read_relation(spread(place("p", 24, 14, 42, 44, 5.2), 0.5), low) == "in front of"
    assert read_relation(spread(place("p", 24, 14, 42, 34, 5.2), 0.5), low) == "on top of", "rows"
    assert read_relation(spread(place("p", 24, 14, 42, 44, 5.6), 0.5), low) == "on top of", "near"
    nothing = spread(place("p", 24, 14, 42, 44, float("nan")), float("nan"))
    assert read_relation(nothing, low) is None
