"""Verdicts by hand, and how often they are wrong."""

import numpy as np
import pytest
from scipy import stats

from ablate2tune.statistics.top_set import places, told_apart


def around(mean: float, half: float, clusters: int = 16) -> np.ndarray:
    """Clusters that alternate about a mean."""
    return mean + half * np.resize([1.0, -1.0], clusters)


def test_the_paired_t_test_by_hand():
    """Differences 1, 2, 3, 4: mean 2.5, variance 5/3, t = 2.5 / sqrt(5/12) = 3.87, one-sided."""
    table, counts = np.array([[11.0, 22.0, 33.0, 44.0], [10.0, 20.0, 30.0, 40.0]]), np.array([4, 4])
    edge = stats.t.cdf(2.5 / (5 / 12) ** 0.5, 3)
    assert told_apart(table, counts, edge - 1e-6).tolist() == [[False, True], [False, False]]
    assert not told_apart(table, counts, edge + 1e-6).any()
    # A slope costs a degree of freedom, in the variance as well.
    edge = stats.t.cdf(2.5 / (5 / 8) ** 0.5, 2)
    assert told_apart(table, counts, edge - 1e-6, slopes=1).any()
    assert not told_apart(table, counts, edge + 1e-6, slopes=1).any()
    # A single cluster says nothing.
    assert not told_apart(table, np.array([4, 1]), 0.6).any()


def test_in_out_and_open():
    rows = [around(9, 1), around(5, 2), around(4.5, -2), around(0, 1), np.full(16, np.nan)]
    table, counts = np.stack(rows), [16] * 5
    found = places(table, counts, [1] * 5, 2, 0.95)
    assert found.verdicts == ["in", "open", "open", "out", "out"]
    assert found.top == 2
    assert not found.settled
    # The cut is at 4.75; the standard error of a mean of 5 -+ 2 over 16 is 0.5.
    assert found.doubt[1] == pytest.approx(0.25 / 0.5)
    assert places(table[:4], counts[:4], [1] * 4, 3, 0.95).verdicts == ["in"] * 3 + ["out"]
    assert places(table, counts, [1] * 5, 9, 0.95).verdicts == ["in"] * 4 + ["out"]
    assert places(table, counts, [1] * 5, 0, 0.95).verdicts == ["out"] * 5


def test_as_many_are_wanted_as_hold_the_modules():
    table, counts = np.stack([around(9 - 2 * i, 0.1 * (-1) ** i) for i in range(4)]), [16] * 4
    assert places(table, counts, [8, 2, 2, 8], 9, 0.95).top == 2
    assert places(table, counts, [8, 2, 2, 8], 8, 0.95).top == 1
    assert places(table, counts, [2, 2, 8, 8], 5, 0.95).verdicts == ["in"] * 3 + ["out"]


def test_what_moves_all_alike_does_not_hide_an_order():
    picture = np.random.default_rng(0).normal(0, 50, 16)
    table = np.stack([picture + around(mean, 1 - mean / 10) for mean in (3.0, 2.0, 0.0)])
    assert places(table, [16] * 3, [1] * 3, 2, 0.95).verdicts == ["in", "in", "out"]


def test_verdicts_are_wrong_in_no_more_runs_than_said():
    rng, wrong, told = np.random.default_rng(1), [], []
    true = 0.8 ** np.arange(20)
    for _ in range(300):
        table = true[:, None] + rng.standard_t(5, (20, 24)) * 0.3
        verdicts = places(table, [24] * 20, [1] * 20, 6, 0.9).verdicts
        wrong.append("out" in verdicts[:6] or "in" in verdicts[6:])
        told.append(verdicts.count("open") < 20)
    assert np.mean(told) > 0.9
    assert np.mean(wrong) < 0.1
