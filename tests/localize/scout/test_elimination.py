"""Which modules stay, and the order that this gives: by hand."""

import pytest

from ablate2tune.localize.scout.elimination import Round, halvings, places


def interval(value: float, half: float = 0.5) -> dict:
    return {"value": value, "low": value - half, "high": value + half, "n": 9}


def one(kept: int, **values: float) -> Round:
    return Round({name: interval(value) for name, value in values.items()}, kept)  # type: ignore


@pytest.mark.parametrize(
    ("modules", "kept"),
    [(56, [28, 14, 7]), (418, [209, 104, 52, 26, 13, 6]), (8, [4]), (7, [7]), (1, [1])],
)
def test_half_of_the_modules_stay_as_long_as_any_pays(modules: int, kept: list[int]):
    assert halvings(modules) == kept


def test_those_that_stand_longest_come_first():
    first = one(2, a=1.0, b=4.0, c=3.0, d=2.0)
    assert first.survivors == ["b", "c"]
    # Beside each other it is c that is missed.
    found = places([first, one(2, b=1.0, c=5.0)])
    assert [entry["address"] for entry in found] == ["c", "b", "d", "a"]
    assert [entry["round"] for entry in found] == [2, 2, 1, 1]
    assert [entry["adds"]["value"] for entry in found] == [5.0, 1.0, 2.0, 1.0]


def test_a_place_is_settled_on_one_side_of_the_cut():
    # Between 3 and 2, at 2.5: the intervals of b and a reach it, ends included.
    held = Round(
        {"c": interval(4), "b": interval(3), "a": interval(2), "d": interval(1)},  # type: ignore
        2,
    )
    assert [held.settled(name) for name in "cbad"] == [True, False, False, True]
    # Where all stay it is zero that counts.
    last = one(2, a=0.4, b=0.6)
    assert [last.settled(name) for name in "ab"] == [False, True]


def test_equal_modules_are_ordered_by_address():
    assert one(1, b=1.0, a=1.0).survivors == ["a"]
