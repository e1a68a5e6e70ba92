"""blender_scenes/seen_in_line.py on masks drawn by hand: 1 is in front, 2 behind."""

import pytest
from blender_scripts import load_blender_script

before = load_blender_script("seen_in_line").before


def labels(*rows: str) -> bytearray:
    return bytearray(int(cell) for row in rows for cell in row)


@pytest.mark.parametrize("rows, plainly", [
    (("2220", "2110", "0110", "0000"), 1.0),  # both of the narrower one's columns
    (("0222", "0222", "1100", "1100"), 0.5),  # one column of two
    (("2211", "2211", "2011", "2000"), 0.5),  # two rows of four end at the one in front
    (("2200", "2200", "0011", "0011"), 0.0),  # diagonal, in no column together
    (("2220", "0000", "0000", "0000"), 0.0),  # the one in front is not seen
])  # fmt: skip
def test_how_plainly_one_is_before_the_other(rows, plainly):
    assert before(labels(*rows), 1, 2) == pytest.approx(plainly)


def test_who_is_behind_matters():
    picture = labels("2220", "2110", "2000", "2000")
    assert before(picture, 1, 2) == 1.0
    tall = labels("2000", "2100", "2000", "2000")
    assert (before(tall, 1, 2), before(tall, 2, 1)) == (0.25, 1.0)
