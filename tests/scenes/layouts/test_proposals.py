"""Places for one relation alone, without Blender: what is behind something looks out."""

import random

import pytest

from ablate2tune.scenes.layouts.proposals import propose
from ablate2tune.scenes.shapes.shapes import shape


def looks_out(first, second, seed):
    """Part of the first one's width that is beside the second, behind which it stands."""
    made = propose(random.Random(seed), "behind", [first, second])
    assert not isinstance(made, str), made
    (a, b), places = made
    (ax, ay, *_), (bx, by, *_) = places["a"], places["b"]
    assert ay > by, "the first is farther away"
    return max(0.0, abs(ax - bx) + a.across - b.across) / (2 * a.across)


def test_what_stands_behind_something_solid_looks_out_by_half_its_width():
    person, car = shape("person", "adult", "standing", 1.0), shape("car", "van", "standing", 1.0)
    for seed in range(40):
        assert 0.5 <= looks_out(person, car, seed) <= 0.62


@pytest.mark.parametrize("yaw, least, most", [(0.0, 0.04, 0.26), (90.0, 0.37, 0.65)])
def test_a_cat_behind_the_slats_of_a_chair_stands_aside(yaw, least, most):
    # 37 cm wide end on, 91 cm long; the chair is 44 cm wide. It may stand aside by the difference
    # and half of the narrower one, 13 cm and 35 cm, and does by at least 0.4 of that.
    cat = shape("cat", "shorthair", "standing", 1.0).turned(yaw)
    found = [looks_out(cat, shape("chair", "spindle", "standing", 1.0), k) for k in range(60)]
    assert least <= min(found) < max(found) <= most
    assert max(found) - min(found) > 0.6 * (most - least)
