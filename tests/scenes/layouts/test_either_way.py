from collections import Counter

import pytest

from ablate2tune.scenes.layouts.either_way import DIFFERENCES, EDGE, in_depth_of, way_of
from ablate2tune.scenes.scenes_config import ScenesConfig
from ablate2tune.scenes.shapes.shapes import Arrangement, TwinLayout
from ablate2tune.scenes.vocabulary import CONTRAST

CONFIG = ScenesConfig(world="natural", objects=["all"], relations=list(CONTRAST))


@pytest.mark.parametrize("pair", [("in front of", "behind"), ("below", "above")])
@pytest.mark.parametrize("turns", [4, 40])
def test_every_way_is_as_frequent(pair, turns):
    named = [relation for relation in CONTRAST if relation in pair]
    config = CONFIG.model_copy(update={"relations": named})
    ways = [way_of(config, index) for index in range(2 * turns)]
    sides = [(a, b) for a in (True, False) for b in (True, False)]
    assert Counter((way.lower, way.right) for way in ways) == dict.fromkeys(sides, turns / 2)
    if turns >= 8:
        for other in ("lower", "right"):
            counts = Counter((way.larger, getattr(way, other)) for way in ways)
            assert counts == dict.fromkeys(sides, turns / 2)


def test_the_two_groups_of_a_turn_go_against_each_other():
    one, two = (list(CONTRAST).index(relation) for relation in ("in front of", "behind"))
    for turn in range(6):
        ways = [way_of(CONFIG, turn * len(CONTRAST) + k) for k in (one, two)]
        assert ways[0].turn == ways[1].turn == turn
        assert ways[0].lower != ways[1].lower and ways[0].larger != ways[1].larger


def test_what_the_two_groups_of_a_turn_share_in_depth():
    named = [relation for relation in CONTRAST if relation in ("in front of", "behind")]
    config = CONFIG.model_copy(update={"relations": named})
    seen, higher = Counter(), 0
    for turn in range(400):
        one, two = (in_depth_of(9, way_of(config, 2 * turn + k)) for k in (0, 1))
        assert one.edge == -two.edge and EDGE[0] <= abs(one.edge) <= EDGE[1]
        assert one[2:] == two[2:]
        assert all(asked.small for asked in (one, two) if asked.edge < 0)
        seen[one.difference] += 1
        higher += one.first_higher
    # Binomial: 100 and 200, standard deviations 8.7 and 10.
    assert all(65 < seen[difference] < 135 for difference in DIFFERENCES)
    assert 160 < higher < 240


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
