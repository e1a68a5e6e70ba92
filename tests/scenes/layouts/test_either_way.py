from collections import Counter

import pytest

from ablate2tune.scenes.layouts.either_way import way_of
from ablate2tune.scenes.layouts.layout import Arrangement, TwinLayout
from ablate2tune.scenes.scenes_config import ScenesConfig
from ablate2tune.scenes.vocabulary import CONTRAST

CONFIG = ScenesConfig(world="natural", objects=["all"], relations=list(CONTRAST))


@pytest.mark.parametrize("pair", [("in front of", "behind"), ("below", "above")])
@pytest.mark.parametrize("turns", [4, 40])
def test_every_way_is_as_frequent(pair, turns):
    named = [relation for relation in CONTRAST if relation in pair]
    config = CONFIG.model_copy(update={"relations": named})
    ways = [way_of(config, index) for index in range(2 * turns)]
    counts = Counter((way.lower, way.right) for way in ways)
    assert counts == dict.fromkeys(
        [(a, b) for a in (True, False) for b in (True, False)], turns / 2
    )


def test_the_two_groups_of_a_turn_go_against_each_other():
    one, two = (list(CONTRAST).index(relation) for relation in ("in front of", "behind"))
    for turn in range(6):
        ways = [way_of(CONFIG, turn * len(CONTRAST) + k) for k in (one, two)]
        assert ways[0].turn == ways[1].turn == turn
        assert ways[0].lower != ways[1].lower


def arrangement(first, second):
    """a stands on b, a little to the right of its middle; then the other way round."""
    return Arrangement([], (
        TwinLayout(first, ("a", "b"), {"a": (0.2, 0.1, "b", 0.0), "b": (0.0, 0.0, None, 0.0)}),
        TwinLayout(second, ("a", "b"), {"a": (0.0, 0.0, None, 0.0), "b": (0.2, 0.1, "a", 0.0)}),
    ))  # fmt: skip


@pytest.mark.parametrize("relations, right", [
    (("on top of", "underneath"), True), (("underneath", "on top of"), False),
])  # fmt: skip
def test_the_relation_that_comes_first_says_what_is_right(relations, right):
    made = arrangement(*relations)
    assert made.to_the(right) == made
    turned = made.to_the(not right)
    assert [twin.places["ab"[k]] for k, twin in enumerate(turned.twins)] == [
        (-0.2, 0.1, "b", 0.0), (-0.2, 0.1, "a", 0.0)
    ]  # fmt: skip
    assert turned.to_the(right) == made


def test_left_and_right_are_never_exchanged():
    made = arrangement("left of", "right of")
    assert made.to_the(True) == made.to_the(False) == made
