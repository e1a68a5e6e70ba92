import itertools

import pytest

from ablate2tune.scenes.vocabulary import (
    COLOURS,
    KINDS,
    OPPOSITE,
    RELATIONS,
    caption,
    is_holdout,
    with_article,
)

THINGS = [f"{colour} {kind}" for colour in COLOURS for kind in KINDS]
PAIRS = list(itertools.combinations(THINGS, 2))


@pytest.mark.parametrize("colour, article", [("orange", "an"), ("red", "a"), ("white", "a")])
def test_articles(colour, article):
    assert with_article(f"{colour} cup") == f"{article} {colour} cup"


def test_captions():
    assert (
        caption("orange", "cup", "on top of", "red", "car") == "an orange cup on top of a red car"
    )
    assert caption("red", "car", "behind", "orange", "box") == "a red car behind an orange box"
    assert caption("red", "car", None, "orange", "box") == "a red car and an orange box"


def test_opposites_pair_up():
    assert len(RELATIONS) == 6
    assert all(OPPOSITE[OPPOSITE[r]] == r != OPPOSITE[r] for r in RELATIONS)


def test_holdout_does_not_depend_on_the_order():
    assert all(is_holdout(a, b, 0.3) == is_holdout(b, a, 0.3) for a, b in PAIRS)


def test_a_larger_fraction_only_adds_pairs():
    held = [{pair for pair in PAIRS if is_holdout(*pair, f)} for f in (0.0, 0.1, 0.4, 1.0)]
    assert held[0] == set() and held[3] == set(PAIRS)
    assert held[1] < held[2]


@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_holdout_share(fraction):
    share = sum(is_holdout(*pair, fraction) for pair in PAIRS) / len(PAIRS)
    three_sigma = 3 * (fraction * (1 - fraction) / len(PAIRS)) ** 0.5
    assert abs(share - fraction) < three_sigma
