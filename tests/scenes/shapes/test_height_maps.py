"""Places to stand on and to shelter below, compared with what the assets' files say."""

import math

import pytest

from ablate2tune.scenes.shapes.height_maps import height_map


def test_a_table_top_bears_what_is_smaller_than_it():
    # 1.25 x 0.75 m, 0.72 m high (table.py, "dining").
    top = height_map("table", "dining", "standing")
    spots = top.tops((0.1, 0.1))
    assert max(x for x, _ in spots) == pytest.approx(0.525, abs=0.02 + top.cell)
    assert max(y for _, y in spots) == pytest.approx(0.275, abs=0.02 + top.cell)
    assert top.top.max() == pytest.approx(0.72, abs=1e-6)
    assert not top.tops((0.5, 0.5))


def test_what_fits_below_a_table():
    under = height_map("table", "dining", "standing")
    spots = under.shelters((0.1, 0.1), 0.5)
    assert min(abs(x) + abs(y) for x, y in spots) <= 2 * under.cell
    assert not under.shelters((0.1, 0.1), 0.72) and not under.shelters((0.6, 0.4), 0.5)


def test_well_below_a_round_table_is_not_at_its_rim():
    # Round top of radius 0.475 m; its foot has a radius of 0.26 m or less.
    under = height_map("table", "round", "standing")
    far = [
        max(math.hypot(*spot) for spot in under.shelters((0.05, 0.05), 0.1, w)) for w in (0, 0.1)
    ]
    assert far[0] > 0.44 and 0.26 < far[1] < 0.4


def test_a_seat_is_no_place_for_what_its_back_is_in_the_way_of():
    # 0.46 m wide, 0.44 m deep, seat at 0.46 m, back to 0.96 m.
    chair = height_map("chair", "ladder", "standing")
    spots = chair.tops((0.1, 0.1))
    # The back is at the rear: +y.
    assert spots and max(y for _, y in spots) < 0.12
    assert not chair.tops((0.22, 0.3))


def test_the_middle_bears_what_its_places_bear():
    top = height_map("table", "dining", "standing")
    assert top.bears_in_the_middle((0.3, 0.3)) and not top.bears_in_the_middle((0.7, 0.1))
    assert not height_map("cone", "steep", "standing").bears_in_the_middle((0.05, 0.05))


def test_round_and_pointed_things_bear_nothing():
    assert not height_map("ball", "smooth", "standing").tops((0.05, 0.05))
    assert not height_map("cone", "steep", "standing").tops((0.05, 0.05))


def test_the_lower_part_of_a_tree_is_its_stem():
    # 3.6 m high, a crown of 1.25 m, a stem of 0.055 x 3.6 m at the ground, a little aside from the
    # middle of the whole (tree.py, "broad").
    tree = height_map("tree", "broad", "standing")
    assert tree.below(0.1) == pytest.approx((0.198, 0.198), abs=0.08)
    assert min(tree.below(1.0)) > 1.0
    box = height_map("cube", "sharp", "standing")
    assert box.below(0.05) == pytest.approx(box.below(1.0), abs=0.02)
