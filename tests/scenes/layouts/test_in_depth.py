"""Places in depth whose lower edges lie as asked, seen by the block camera."""

import random

import pytest

from ablate2tune.scenes.layouts.in_depth import Seen, in_depth, may_stand
from ablate2tune.scenes.shapes.shapes import shape


def things():
    return [shape("lamp", "table", "standing", 1.0), shape("bottle", "wine", "standing", 1.0)]


def drawn(edge, against=0.0):
    rng = random.Random(2)
    found = [in_depth(rng, things(), edge, 8.0, against) for _ in range(12)]
    return [depth for depth in found if depth is not None]


def test_the_nearer_stands_on_something_where_it_ends_higher():
    for depth in drawn(-0.1):
        assert depth.raised == "nearer" and depth.stand is not None
        assert depth.nearer[1] < 0 < depth.farther[1]
    level = drawn(0.1)
    assert all(depth.room <= 1.0 for depth in level)
    assert {depth.raised for depth in level} <= {None}


def test_the_edge_of_two_level_things_by_hand():
    # Camera 10 m away, level with the middle of a whole 1.8 m high: feet 0.9 m below the axis, at
    # 9 m and at 11 m; a throw of 5.
    seen = Seen(1.8, 1.8, 2.0, 0.0, (0.0, 0.0), 5.0)
    assert seen.distance(0.0) == pytest.approx(10.0)
    assert seen.edge(0.0) == pytest.approx(5 * 0.9 * (1 / 9 - 1 / 11))
    # From above, the farther one is higher in the picture.
    assert seen.edge(0.3) > seen.edge(0.1) > seen.edge(0.0)
    assert seen.edge(seen.tilt_for(0.2)) == pytest.approx(0.2, abs=1e-4)
    assert seen.tilt_for(-0.1) is None


@pytest.mark.parametrize("edge", [-0.12, -0.05, 0.1])
def test_some_camera_shows_the_edges_as_asked(edge):
    assert drawn(edge)


@pytest.mark.parametrize("edge", [-0.1, 0.1])
@pytest.mark.parametrize("difference", [(0.25, 0.267), (0.267, 0.3)])
def test_heights_differ_in_the_frame_as_asked(edge, difference):
    rng, (a, b) = random.Random(5), things()
    found = [in_depth(rng, [a, b], edge, 8.0, 0.0, difference=difference) for _ in range(30)]
    made = [depth for depth in found if depth is not None]
    assert made
    for depth in made:
        wide = 2 * abs(depth.nearer[0]) + a.across + b.across
        high = max(a.height, b.height) + (depth.stand.height if depth.stand else 0.0)
        seen = abs(a.height - b.height) * depth.room / max(wide, high)
        assert difference[0] <= seen < difference[1]
    for never in ((0.0, 0.2), (0.9, 1.0)):
        assert in_depth(rng, [a, b], edge, 8.0, 0.0, difference=never) is None


def test_what_is_enlarged_against_perspective():
    assert all(depth.growth == 1.0 for depth in drawn(0.1))
    for depth, more in zip(drawn(0.1, 1.0), drawn(0.1, 2.0), strict=True):
        assert 1.0 < depth.growth < 1.2
        # Enlarged and made smaller twice over, it looks as much smaller as it else looks larger.
        assert more.growth == pytest.approx(depth.growth**2)


def test_neither_cars_nor_people_nor_floor_lamps_stand_on_things():
    for kind, variant in (("car", "saloon"), ("person", "child"), ("lamp", "globe")):
        assert not may_stand(shape(kind, variant, "standing", 1.0))
    assert may_stand(things()[0])
    assert not may_stand(shape("chair", "ladder", "standing", 1.0)), "small, but furniture"
