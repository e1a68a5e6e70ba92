"""The lazy choice against a plain one that looks at every member for every place."""

from collections.abc import Sequence

import numpy as np
import pytest

from ablate2tune.localize.choosing.lazy_greedy import LOOKS, lazy_greedy


def plain_greedy(members: Sequence[str], worth, count: int) -> list[str]:
    chosen: list[str] = []
    while len(chosen) < count:
        rest = [one for one in members if one not in chosen]
        chosen.append(max(rest, key=lambda one: worth([*chosen, one])))
    return chosen


@pytest.mark.parametrize("draw", range(5))
def test_where_gains_shrink_it_chooses_as_the_plain_one_does(draw: int):
    rng = np.random.default_rng(draw)
    jobs = {f"m{i:02d}": rng.random(12) < 0.3 for i in range(9)}
    weights = rng.random(12)
    looks = 0

    def worth(chosen: Sequence[str]) -> float:
        nonlocal looks
        looks += 1
        return float(weights[np.any([jobs[one] for one in chosen], axis=0)].sum())

    alone = {name: worth([name]) for name in jobs}
    looks = 0
    lazy = lazy_greedy(alone, worth, 4)
    looked = looks
    assert worth(lazy) == pytest.approx(worth(plain_greedy(list(jobs), worth, 4)))
    assert looked <= 3 * LOOKS


def test_two_that_do_the_same_job_are_not_both_chosen():
    jobs = {"a": {1, 2, 3}, "twin": {1, 2, 3}, "b": {4, 5}, "c": {6}}

    def worth(chosen: Sequence[str]) -> float:
        return len(set().union(*(jobs[one] for one in chosen)))

    alone = {name: float(len(job)) for name, job in jobs.items()}
    assert lazy_greedy(alone, worth, 3) == ["a", "b", "c"]
    assert lazy_greedy(alone, worth, 9) == ["a", "b", "c", "twin"]


def test_where_nothing_shrinks_it_looks_at_a_few_and_takes_the_best_of_them():
    """Every second look is worth less than what was known, so none would ever lead for long."""
    looks: list[str] = []

    def worth(chosen: Sequence[str]) -> float:
        looks.append(chosen[-1])
        return 10.0 + {"m3": 0.5}.get(chosen[-1], 0.1)

    alone = {f"m{i}": 10.0 - 0.01 * i for i in range(20)}
    assert lazy_greedy(alone, worth, 2) == ["m0", "m3"]
    assert len(looks) == LOOKS
