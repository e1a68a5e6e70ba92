"""Means over blocks and exchanges within them, against values worked out by hand."""

import itertools
import math

import pytest

from ablate2tune.statistics import blocks
from ablate2tune.statistics.blocks import block_mean, exchange_p


def test_interval_of_three_blocks() -> None:
    # mean 2, standard deviation 1, standard error 1 / sqrt 3; t(2) at 97.5 % is 4.302653.
    found = block_mean([1.0, 2.0, 3.0], 0.95)
    reach = 4.302653 / math.sqrt(3)
    assert (found.value, found.n) == (2.0, 3)
    assert found.low == pytest.approx(2 - reach, abs=1e-5)
    assert found.high == pytest.approx(2 + reach, abs=1e-5)
    # With two degrees of freedom P(|T| > t) = 1 - t / sqrt(t^2 + 2), here t = 2 sqrt 3.
    assert found.p == pytest.approx(1 - math.sqrt(12 / 14))


def test_a_single_block_has_no_interval() -> None:
    assert block_mean([0.5], 0.95) == (0.5, None, None, 1, None)


def test_two_blocks_of_two_controls_by_hand() -> None:
    # Block 1: 3 | 1, 2. Distances from the mean of the others: 3 - 1.5, 1 - 2.5, 2 - 2.
    # Block 2: 5 | 5, 2. 5 - 3.5, 5 - 3.5, 2 - 5.
    # Sums: 3, 3, -1.5 | 0, 0, -4.5 | 1.5, 1.5, -3: of nine, 3, 3, -4.5 and -3 are as far as 3.
    assert exchange_p([3.0, 5.0], [[1.0, 2.0], [5.0, 2.0]], seed=0) == pytest.approx(4 / 9)


def test_the_best_of_every_block_has_the_least_p() -> None:
    controls = [[0.0, 0.1, 0.2, 0.3, 0.4]] * 3
    assert exchange_p([1.0, 1.0, 1.0], controls, seed=0) == pytest.approx(1 / 216)


def test_blocks_without_controls_do_not_count() -> None:
    assert exchange_p([3.0, 9.0], [[1.0, 2.0], []], 0) == exchange_p([3.0], [[1.0, 2.0]], 0)
    assert exchange_p([3.0], [[]], 0) is None


def test_random_exchanges_are_near_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    treated, controls = [0.9, 0.4, 0.7], [[0.1, 0.8, 0.3], [0.5, 0.2, 0.6], [0.0, 0.3, 0.2]]
    exact = 0
    held = [[x, *others] for x, others in zip(treated, controls, strict=True)]
    shift = [[x - (sum(row) - x) / 3 for x in row] for row in held]
    least = abs(sum(row[0] for row in shift))
    for choice in itertools.product(*shift):
        exact += abs(sum(choice)) >= least - 1e-9
    assert exchange_p(treated, controls, 0) == pytest.approx(exact / 64)
    monkeypatch.setattr(blocks, "MOST", 63)  # fewer than the 64 there are
    drawn = exchange_p(treated, controls, 0)
    assert drawn == pytest.approx(exact / 64, abs=0.15)
