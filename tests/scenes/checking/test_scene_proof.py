"""The independent relations on blocks whose truth is evident from their numbers."""

import numpy as np
import pytest
from traced import Block, camera, crate, table, trace

from ablate2tune.scenes.checking.proof import RELATIONS, decide
from ablate2tune.scenes.layouts.geometry import clouds
from ablate2tune.scenes.vocabulary import CONTRAST, SYMMETRIC


def cube(x, y, z=0.0, side=0.6):
    return [Block(x, y, z, side, side, side)]


# What is shown: bodies, camera, and the relations of a to b that a person would call true.
SHOWN = {
    "aside": ({"a": cube(-0.6, 0), "b": cube(0.6, 0)}, {}, {"left of", "near"}),
    "close aside": (
        {"a": cube(0.45, 0), "b": cube(-0.45, 0.1)}, {}, {"right of", "next to", "near"},
    ),
    "in line": ({"a": cube(0.1, -0.6), "b": cube(-0.1, 0.6)}, {}, {"in front of", "near"}),
    "behind": ({"a": cube(0.2, 0.6), "b": cube(0, -0.6)}, {}, {"behind", "near"}),
    "cut off": ({"a": cube(0.3, 0.5), "b": cube(0, -0.6)}, {"elevation": 2}, {"behind"}),
    "under an edge": (
        {"a": cube(0.1, 0.1, 0, 0.35), "b": table(0, 0)}, {"elevation": 1, "target": (0, 0, 0.6)},
        {"underneath"},
    ),
    "stacked": (
        {"a": cube(0, 0, 0.6, 0.5), "b": cube(0, 0)}, {"elevation": 12}, {"on top of"},
    ),
    "overhanging": (
        {"a": [Block(0, 0, 0.6, 0.9, 0.9, 0.5)], "b": cube(0, 0)}, {"elevation": 12},
        {"on top of"},
    ),
    "bearing": (
        {"a": cube(0, 0), "b": cube(0, 0, 0.6, 0.5)}, {"elevation": 12}, {"underneath"},
    ),
    "under a table": (
        {"a": cube(0, 0, 0, 0.4), "b": table(0, 0)}, {"elevation": 12}, {"underneath"},
    ),
    "on a table": (
        {"a": cube(0, 0, 0.8, 0.4), "b": table(0, 0)}, {"elevation": 12}, {"on top of"},
    ),
    "hovering": (
        {"a": cube(0, 0, 1.2, 0.5), "b": cube(0, 0)}, {"elevation": 8, "target": (0, 0, 0.9)},
        {"above"},
    ),
    "hovered over": (
        {"a": cube(0, 0), "b": cube(0, 0, 1.2, 0.5)}, {"elevation": 8, "target": (0, 0, 0.9)},
        {"below", "underneath"},
    ),
    "put in": (
        {"a": cube(0, 0, 0.04, 0.35), "b": crate(0, 0)}, {"elevation": 38}, {"inside"},
    ),
    "beside a crate": (
        {"a": cube(-0.9, 0, 0, 0.35), "b": crate(0.2, 0)}, {"elevation": 38},
        {"left of", "next to", "near"},
    ),
    "distant": (
        {"a": cube(-1.2, 0.3, 0, 0.4), "b": cube(1.2, 0, 0, 0.4)}, {}, {"left of", "far from"},
    ),
}  # fmt: skip
PAIRWISE = [relation for relation in RELATIONS if relation != "between"]


def seen(bodies, view):
    view = camera(**view)
    mask, depth = trace(bodies, view)
    found = clouds(mask, depth, view, {label: i for i, label in enumerate(bodies, start=1)})
    return [found.get(label) for label in bodies]


def test_the_words_are_the_ones_of_the_captions():
    assert set(RELATIONS) == set(CONTRAST)


@pytest.mark.parametrize("scene", SHOWN)
def test_only_what_is_true_is_confirmed_and_its_contrast_is_refused(scene):
    bodies, view, true = SHOWN[scene]
    pair = seen(bodies, view)
    confirmed = {r for r in PAIRWISE if decide(r, pair).verdict == "confirmed"}
    assert confirmed == true
    for relation in true:
        assert decide(CONTRAST[relation], pair).verdict == "contradicted"
        if relation not in SYMMETRIC:
            assert decide(relation, pair[::-1]).verdict == "contradicted"


@pytest.mark.parametrize("middle", range(3))
def test_between(middle):
    bodies = {"a": cube(-1, 0.1, 0, 0.4), "b": cube(0, -0.1, 0, 0.4), "c": cube(1, 0.1, 0, 0.4)}
    objects = seen(bodies, {})
    objects.insert(0, objects.pop(middle))
    expected = "confirmed" if middle == 1 else "contradicted"
    assert decide("between", objects).verdict == expected


def test_not_between_what_it_stands_off_from():
    bodies = {"a": cube(0, 2.5, 0, 0.4), "b": cube(-1, 0, 0, 0.4), "c": cube(1, 0, 0, 0.4)}
    assert decide("between", seen(bodies, {})).verdict == "contradicted"


def test_what_a_seat_carries_is_not_underneath_its_back():
    chair = [Block(0, 0, 0, 0.7, 0.7, 0.4), Block(0, 0.3, 0.4, 0.7, 0.1, 0.6)]
    pair = seen({"a": cube(0, -0.1, 0.4, 0.3), "b": chair}, {"elevation": 12})
    assert decide("on top of", pair).verdict == "confirmed"
    assert decide("underneath", pair).verdict == "contradicted"


def test_a_gap_that_shows_ground_is_no_contact():
    lifted = seen({"a": cube(0, 0, 0.9, 0.5), "b": cube(0, 0)}, {"elevation": 6})
    assert decide("on top of", lifted) == ("contradicted", "touching")


def test_how_far_a_top_reaches_is_not_seen_from_its_own_height():
    flat = {"elevation": 0, "target": (0, 0, 0.6)}
    long = [Block(0, 0, 0, 0.6, 2.0, 0.6)]
    rear = seen({"a": cube(0, -0.3, 0.6, 0.3), "b": long}, flat)
    assert decide("on top of", rear) == ("undecidable", "at one depth")
    # Seen from above it is decided, and so is what is too far away, or has its foot hidden.
    above = seen({"a": cube(0, -0.3, 0.6, 0.3), "b": long}, {"elevation": 15})
    assert decide("on top of", above).verdict == "confirmed"
    far = seen({"a": cube(0, 2.0, 0.6, 0.3), "b": cube(0, 0)}, flat)
    assert decide("on top of", far).verdict == "contradicted"
    sunk = seen({"a": cube(0, 1.3, 0, 0.9), "b": long}, flat)
    assert decide("on top of", sunk).verdict == "contradicted"


def test_an_object_that_cannot_be_seen():
    hidden = seen({"a": cube(0, 1.5, 0, 0.2), "b": [Block(0, 0, 0, 2, 0.4, 1.5)]}, {})
    assert hidden[0] is None
    assert decide("behind", hidden) == ("contradicted", "an object is not in the picture")


def test_a_few_pixels_decide_nothing():
    a, b = seen({"a": cube(-0.7, 0), "b": cube(0.7, 0)}, {})
    view = camera()
    mask = np.zeros((64, 64), np.uint8)
    mask[20, 10:15] = 1
    (speck,) = clouds(mask, np.full((64, 64), 7.0), view, {"speck": 1}).values()
    assert decide("left of", [speck, b]).verdict == "undecidable"
    assert decide("left of", [a, b]).verdict == "confirmed"


def test_what_pixels_cannot_tell_is_undecidable():
    # 0.01 m in front, where a pixel is 0.06 m wide.
    pair = seen({"a": cube(-0.1, 0.0), "b": [Block(0.3, 0.01, 0, 0.6, 0.6, 0.6)]}, {})
    assert decide("in front of", pair).verdict == "undecidable"


def test_a_contact_that_is_hidden_is_undecidable():
    stem, plate = [Block(0, 0, 0, 0.3, 0.3, 0.6)], [Block(0, 0, 0.6, 1.6, 1.6, 0.2)]
    assert decide("on top of", seen({"a": plate, "b": stem}, {})) == ("undecidable", "touching")
