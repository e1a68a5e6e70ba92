"""What fits where at about its size in life, and where it is put."""

import random

import pytest

from ablate2tune.scenes.shapes import fitting
from ablate2tune.scenes.shapes.shapes import shape


def look(kind, variant, pose="standing"):
    return shape(kind, variant, pose, 1.0)


@pytest.mark.parametrize(
    "first, second, fits",
    [
        (("cat", "kitten", "sitting"), ("chair", "ladder"), True),
        (("dog", "shepherd"), ("chair", "ladder"), False),  # 1.34 m long, a seat of 46 cm
        (("dog", "puppy", "sitting"), ("table", "dining"), True),
        (("table", "dining"), ("bench", "park"), False),
        (("ball", "football"), ("box", "taped"), False),  # nothing is free below a box
    ],
)
def test_what_fits_under_and_on(first, second, fits):
    a, b = look(*first), look(*second)
    assert fitting.fits_under(a, b) == fits
    if not fits:
        with pytest.raises(ValueError, match="does not fit under"):
            fitting.under_and_on(random.Random(0), a, b)


def test_what_is_put_under_stays_as_large_as_it_can():
    rng, table = random.Random(1), look("table", "dining").turned(30.0)
    cup, _ = fitting.under_and_on(rng, look("cup", "mug"), table)
    assert cup.scale == 1.0
    puppy, _ = fitting.under_and_on(rng, look("dog", "puppy", "sitting"), table)
    hound, _ = fitting.under_and_on(rng, look("dog", "hound", "sitting"), table)
    assert fitting.LEAST <= hound.scale < puppy.scale <= 1.0
    # The board, 4.5 cm thick, is 72 cm above the ground at its upper side.
    assert hound.height < 0.675


def test_it_stands_on_the_table_that_it_stands_under():
    rng, table = random.Random(2), look("table", "dining").turned(40.0)
    for _ in range(20):
        ball, (x, y) = fitting.under_and_on(rng, look("ball", "football"), table)
        assert abs(x) + ball.across <= table.across and abs(y) + ball.along <= table.along


@pytest.mark.parametrize(
    "first, second, fits",
    [
        (("cat", "kitten", "sitting"), ("box", "open"), True),
        (("dog", "hound"), ("box", "open"), False),
        (("cup", "mug"), ("bowl", "wide"), True),
        (("bottle", "flask"), ("cup", "beaker"), False),
        (("ball", "football"), ("box", "taped"), False),
        (("bowl", "deep"), ("box", "open"), False),  # what holds things itself
    ],
)
def test_what_fits_into(first, second, fits):
    a, b = look(*first), look(*second)
    assert fitting.fits_into(a, b) == fits
    if not fits and b.holds:
        with pytest.raises(ValueError, match="does not fit into"):
            fitting.into(random.Random(0), look("dog", "hound"), b)


def test_what_is_put_into_a_box_lies_within_and_is_neither_tiny_nor_huge():
    rng, box = random.Random(3), look("box", "open").turned(20.0)
    for kind, variant, pose in (("cup", "mug", "standing"), ("cat", "kitten", "sitting")):
        made, (x, y) = fitting.into(rng, look(kind, variant, pose), box)
        assert fitting.LEAST <= made.scale <= fitting.LARGEST
        assert abs(x) + made.across < box.across and abs(y) + made.along < box.along
    cup, _ = fitting.into(rng, look("cup", "mug"), box)
    assert cup.scale == fitting.LARGEST, "small things are shown a little larger"
