"""blender_scenes/relations.py on measurements placed by hand; boxes have top = 0."""

from dataclasses import replace

import pytest


@pytest.fixture
def make(relations):
    """A pair of unit objects side by side on the ground, the first on the left."""

    def view(box, right, forward, up=(0.0, 1.0), visible=1.0, area=0.1, depth=5.0):
        return relations.View(box, right, forward, up, visible, area, depth)

    def pair(first, second, first_hides=0.0, second_hides=0.0, over=None, under=None):
        nothing, views = relations.Over(None, 0.0), (view(**first), view(**second))
        return relations.Pair(
            *views, first_hides, second_hides, over or nothing, under or nothing,
            first_enclosed=0.0, second_enclosed=0.0,
            first_seen=views[0].up, second_seen=views[1].up,
        )  # fmt: skip

    return pair


LEFT = {"box": (0.1, 0.4, 0.4, 0.7), "right": (-1.1, -0.1), "forward": (-0.5, 0.5)}
RIGHT = {"box": (0.6, 0.4, 0.9, 0.7), "right": (0.1, 1.1), "forward": (-0.5, 0.5)}
NEAR = {"box": (0.3, 0.5, 0.7, 0.9), "right": (-0.5, 0.5), "forward": (-1.2, -0.2), "depth": 4.0}
FAR = {"box": (0.35, 0.2, 0.75, 0.6), "right": (-0.4, 0.6), "forward": (0.2, 1.2), "depth": 5.0,
       "visible": 0.6}  # fmt: skip
HIGH = {"box": (0.3, 0.1, 0.7, 0.5), "right": (-0.5, 0.5), "forward": (-0.5, 0.5), "up": (1, 2)}
LOW = {"box": (0.3, 0.45, 0.7, 0.9), "right": (-0.5, 0.5), "forward": (-0.5, 0.5), "visible": 0.85}


def side_by_side(make):
    return make(LEFT, RIGHT)


def one_behind_the_other(make):
    return make(NEAR, FAR, first_hides=0.4)


def stacked(make, relations):
    return make(HIGH, LOW, over=relations.Over(0.0, 0.6), under=relations.Over(-2.0, 0.6))


def test_left_and_right(make, relations):
    pair = side_by_side(make)
    assert relations.relations_true(pair) == ["left of"]
    assert relations.relations_true(pair.swapped()) == ["right of"]
    assert relations.rejection("left of", pair, 0.04) is None
    assert relations.rejection("right of", pair.swapped(), 0.04) is None


def test_front_and_behind(make, relations):
    pair = one_behind_the_other(make)
    assert relations.relations_true(pair) == ["in front of"]
    assert relations.relations_true(pair.swapped()) == ["behind"]
    assert relations.rejection("in front of", pair, 0.04) is None
    assert relations.rejection("behind", pair.swapped(), 0.04) is None


def test_on_top_and_underneath_by_resting(make, relations):
    pair = stacked(make, relations)
    assert relations.relations_true(pair) == ["on top of"]
    assert relations.relations_true(pair.swapped()) == ["underneath"]
    assert relations.rejection("on top of", pair, 0.04) is None
    assert relations.rejection("underneath", pair.swapped(), 0.04) is None


def test_a_table_over_a_ball_is_underneath_without_being_on_top(make, relations):
    ball = {"box": (0.4, 0.5, 0.6, 0.7), "right": (-0.3, 0.3), "forward": (-0.3, 0.3),
            "up": (0.0, 0.6), "visible": 0.7}  # fmt: skip
    table = {"box": (0.2, 0.3, 0.8, 0.8), "right": (-0.6, 0.6), "forward": (-0.5, 0.5)}
    pair = make(ball, table, over=relations.Over(-0.9, 1.0), under=relations.Over(0.14, 1.0))
    assert relations.relations_true(pair) == ["underneath"]
    assert relations.relations_true(pair.swapped()) == []
    assert relations.rejection("underneath", pair, 0.04) is None
    assert relations.rejection("on top of", pair.swapped(), 0.04) is not None


@pytest.mark.parametrize("cover, gap", [(0.6, 0.14), (1.0, 0.004), (1.0, -0.01)])
def test_half_covered_or_touching_is_not_underneath(make, relations, cover, gap):
    ball = {**LOW, "visible": 0.9}
    table = {"box": (0.2, 0.3, 0.8, 0.8), "right": (-0.6, 0.6), "forward": (-0.5, 0.5)}
    pair = make(ball, table, under=relations.Over(gap, cover))
    assert relations.rejection("underneath", pair, 0.04) == "underneath: below"


def test_a_diagonal_is_neither_left_nor_in_front(make, relations):
    # 1.2 m aside and 0.8 m nearer; left of allows half as far along as aside.
    first = {**LEFT, "forward": (-1.3, -0.3), "box": (0.1, 0.6, 0.4, 0.9)}
    pair = make(first, RIGHT)
    assert relations.relations_true(pair) == []
    assert relations.rejection("left of", pair, 0.04) == "left of: ground_direction"


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"box": (0.01, 0.4, 0.4, 0.7)}, "outside the frame"),
        ({"area": 0.03}, "too small in the frame"),
        ({"visible": 0.89}, "left of: first_visible"),
        ({"box": (0.35, 0.4, 0.65, 0.7)}, "left of: columns_apart"),
        ({"up": (1.2, 2.2)}, "left of: same_height"),
    ],
)
def test_what_makes_left_of_fail(make, relations, change, reason):
    assert relations.rejection("left of", make({**LEFT, **change}, RIGHT), 0.04) == reason


def test_what_is_not_hidden_is_not_behind(make, relations):
    pair = replace(one_behind_the_other(make), first_hides=0.04)
    assert relations.rejection("in front of", pair, 0.04) == "in front of: hides"
    assert relations.rejection("behind", pair.swapped(), 0.04) == "behind: hides"


def test_floating_is_not_on_top(make, relations):
    pair = replace(stacked(make, relations), first_over_second=relations.Over(0.02, 0.6))
    assert relations.rejection("on top of", pair, 0.04) == "on top of: contact"


def test_overhanging_is_not_on_top(make, relations):
    upper = {**HIGH, "right": (0.1, 1.1)}
    pair = make(upper, LOW, over=relations.Over(0.0, 0.3))
    assert relations.rejection("on top of", pair, 0.04) == "on top of: centre_over"


def test_slack_is_the_distance_to_the_threshold(make, relations):
    slack = relations.slacks("left of", side_by_side(make))
    # Box middles 0.25 and 0.75 at one height; ground middles -0.6 and 0.6; no shared columns:
    # the boxes are 0.2 apart, two thirds of a width of 0.3.
    assert slack["image_direction"] == pytest.approx(0.5)
    assert slack["ground_direction"] == pytest.approx(0.6)
    assert slack["columns_apart"] == pytest.approx(0.1 + 2 / 3)
    assert slack["first_visible"] == pytest.approx(0.1)


def test_words_match_the_package(relations):
    from ablate2tune.scenes import vocabulary

    assert relations.RELATIONS == vocabulary.RELATIONS
    assert relations.OPPOSITE == vocabulary.OPPOSITE


BOX = {"box": (0.3, 0.3, 0.7, 0.8), "right": (-0.5, 0.5), "forward": (-0.5, 0.5), "visible": 0.9}


def holding(relations, pair):
    return set(relations.relations_true(pair, relations.ALL))


def test_above_is_over_and_clear(make, relations):
    high = {**HIGH, "up": (1.2, 2.2), "box": (0.3, 0.1, 0.7, 0.40)}
    pair = make(high, LOW, over=relations.Over(0.2, 0.6), under=relations.Over(-2.2, 0.6))
    assert "above" in holding(relations, pair) and "below" in holding(relations, pair.swapped())
    assert "on top of" not in holding(relations, pair)
    assert relations.slacks("above", pair)["clear"] == pytest.approx(0.2 - 0.05)
    assert relations.rejection("above", pair, 0.04) is None
    aside = make({**high, "right": (0.1, 1.1)}, LOW, over=relations.Over(0.2, 0.3))
    assert relations.rejection("above", aside, 0.04) == "above: centre_over"
    closed = make({**high, "box": (0.3, 0.1, 0.7, 0.45)}, LOW, over=relations.Over(0.2, 0.6))
    assert relations.rejection("above", closed, 0.04) == "above: gap_seen"


def test_inside_needs_walls_around(make, relations):
    ball = {"box": (0.4, 0.4, 0.6, 0.6), "right": (-0.2, 0.2), "forward": (-0.2, 0.2),
            "up": (0.05, 0.45), "visible": 0.6}  # fmt: skip
    pair = replace(make(ball, BOX), first_enclosed=1.0)
    assert "inside" in holding(relations, pair)
    assert "inside" not in holding(relations, pair.swapped())
    assert relations.slacks("inside", pair)["within"] == pytest.approx(0.3 + 0.02)
    assert relations.slacks("inside", pair)["low"] == pytest.approx(0.5 - 0.05)
    for broken in (replace(pair, first_enclosed=0.75), make({**ball, "up": (0.6, 1.0)}, BOX)):
        assert "inside" not in holding(relations, broken)


def test_inside_is_seen_below_the_rim_or_behind_a_wall(make, relations):
    # The rim is 1 m high; the ball is 0.4 m high, so 0.12 m of it must be seen below the rim.
    ball = {"box": (0.4, 0.4, 0.6, 0.6), "right": (-0.2, 0.2), "forward": (-0.2, 0.2),
            "up": (0.45, 0.85), "visible": 0.9}  # fmt: skip
    pair = replace(make(ball, BOX), first_enclosed=1.0)
    assert relations.slacks("inside", pair)["sunk_seen"] == pytest.approx(0.55 - 0.12)
    only_its_top = replace(pair, first_seen=(0.95, 0.98))
    assert relations.slacks("inside", only_its_top)["sunk_seen"] == pytest.approx(0.05 - 0.12)
    hidden = replace(only_its_top, second_hides=0.2)
    assert relations.slacks("inside", hidden)["sunk_seen"] == pytest.approx(0.2 - 0.15)


# Two unit squares side by side; the gap between them decides. Thresholds: next to 0.45, near 0.36,
# far from 1.5 times the mean breadth of 1 m.
@pytest.mark.parametrize(
    "gap, expected",
    [
        (0.2, {"next to", "near"}),
        (0.6, set()),
        (1.2, set()),
        (1.6, {"far from"}),
    ],
)
def test_distances(make, relations, gap, expected):
    right = {**RIGHT, "right": (-0.1 + gap, 0.9 + gap)}
    pair = make(LEFT, right)
    assert relations.ground_gap(pair.first, pair.second) == pytest.approx(gap)
    for view in (pair, pair.swapped()):
        assert holding(relations, view) & {"next to", "near", "far from"} == expected


def test_a_gap_along_both_axes_is_the_diagonal(make, relations):
    pair = make(LEFT, {**RIGHT, "right": (0.2, 1.2), "forward": (0.9, 1.9)})
    assert relations.ground_gap(pair.first, pair.second) == pytest.approx(0.5)  # 0.3, 0.4


def test_what_is_long_but_seen_from_its_end_must_be_nearer(make, relations):
    # One behind the other, 0.2 m apart, 1 m wide; the nearer is 3 m long, of which 1 m is seen.
    nearer, farther = {**NEAR, "forward": (-3.2, -0.2)}, {**FAR, "forward": (0.0, 1.0)}
    slack = relations.slacks("near", make(nearer, farther))
    assert slack["close"] == pytest.approx(0.65 * 2 - 0.2)
    assert slack["close_seen"] == pytest.approx(0.36 - 2.2)
    as_wide = relations.slacks("near", make({**nearer, "forward": (-1.2, -0.2)}, farther))
    assert as_wide["close_seen"] == pytest.approx(0.36 - 0.2)


def three(make, middle):
    """Unit squares at x = -2, `middle` and 2; the picture shows them in fifths."""
    views = [
        {"box": (0.5 + x / 5 - 0.1, 0.4, 0.5 + x / 5 + 0.1, 0.6), "right": (x - 0.5, x + 0.5),
         "forward": (y - 0.5, y + 0.5)}
        for x, y in ((-2, 0), middle, (2, 0))
    ]  # fmt: skip
    return make(views[1], views[0]), make(views[1], views[2])


def test_between(make, relations):
    slack = relations.between_slacks(*three(make, (0.5, 0.4)))
    # 2.5 m of 4 m along the line, 0.4 m beside it, 0.3 of the frame from the right one.
    assert slack["along"] == pytest.approx(0.25 - 0.125)
    assert slack["aside"] == pytest.approx(1.0 - 0.4)
    assert slack["image"] == pytest.approx(0.3 - 0.05)
    assert min(slack.values()) >= 0


@pytest.mark.parametrize("middle, missed", [((1.2, 0), "along"), ((0, 1.1), "aside")])
def test_not_between(make, relations, middle, missed):
    slack = relations.between_slacks(*three(make, middle))
    assert slack[missed] < 0


def test_between_is_seen_at_one_height(make, relations):
    left, right = three(make, (0, 0))
    legs_unseen = [replace(pair, first_seen=(0.6, 1.0)) for pair in (left, right)]
    slack = relations.between_slacks(*legs_unseen)
    assert slack["same_height_seen"] == pytest.approx(0.4 - 0.5)


def test_a_foil_that_holds_is_rejected(make, relations):
    far = make(LEFT, {**RIGHT, "right": (1.6, 2.6)})
    assert relations.rejection("far from", far, 0.04) is None
    assert relations.rejection("near", far, 0.04) == "near: close"


def test_words_of_every_relation_match_the_package(relations):
    from ablate2tune.scenes import vocabulary

    assert relations.CONTRAST == vocabulary.CONTRAST
    assert relations.SYMMETRIC == vocabulary.SYMMETRIC
