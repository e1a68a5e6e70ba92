import numpy as np
import pytest

from ablate2tune.statistics.rates import Rate, cluster_counts, difference, exchange_p, mcnemar, rate
from ablate2tune.statistics.resampling import Resampling

HOW = Resampling(seed=0, bootstrap=4000, confidence=0.95)


def test_rate_and_its_bootstrap_interval():
    hits = np.array([1] * 30 + [0] * 70)
    interval = rate(hits, np.ones(100, int), HOW)
    assert interval.value == 0.3 and interval.n == 100
    # Resampled proportions are binomial(100, 0.3) / 100, whose 2.5 % quantiles are .21 and .39.
    assert interval.low == pytest.approx(0.21, abs=0.011)
    assert interval.high == pytest.approx(0.39, abs=0.011)


def test_images_of_one_prompt_do_not_count_as_independent():
    one_each = rate(np.array([1, 0] * 20), np.ones(40, int), HOW)
    ten_each = rate(np.array([10, 0] * 20), np.full(40, 10), HOW)
    assert ten_each.n == 400
    assert (ten_each.low, ten_each.high) == (one_each.low, one_each.high)


def test_a_rate_of_one_still_has_an_interval():
    # Clopper-Pearson for n of n at 95 %: the lower limit is 0.025 ** (1 / n).
    interval = rate(np.full(20, 2), np.full(20, 2), HOW)
    assert interval == Rate(1.0, pytest.approx(0.025 ** (1 / 20)), 1.0, 40)
    assert rate(np.zeros(20), np.ones(20), HOW).high == pytest.approx(1 - 0.025 ** (1 / 20))


def test_nothing_to_estimate():
    assert rate(np.zeros(3), np.zeros(3), HOW) == Rate(None, None, None, 0)
    gap = difference((np.zeros(3), np.zeros(3)), (np.ones(3), np.ones(3)), HOW)
    assert gap.value is None and gap.p is None


def test_mcnemar_by_hand():
    before = np.array([0] * 8 + [1] * 2 + [1] * 5)
    after = np.array([1] * 8 + [0] * 2 + [1] * 5)
    # 8 against 2 discordant: 2 * (C(10,0) + C(10,1) + C(10,2)) / 2^10
    assert mcnemar(before, after) == pytest.approx(2 * (1 + 10 + 45) / 1024)
    assert mcnemar(before, before) == 1.0


def test_permutation_by_hand():
    # Three prompts, two images each, all gain: the exact sign-flip p is 2 / 2^3.
    trials = np.full(3, 2)
    assert exchange_p((np.zeros(3, int), trials), (np.full(3, 2), trials), HOW) == 2 / 2**3
    # No difference: every permutation is as large.
    assert exchange_p((np.ones(3, int), trials), (np.ones(3, int), trials), HOW) == 1.0


def test_many_clusters_are_exchanged_at_random():
    """Fourteen that all gain: 2 of 2^14 patterns are as large; beyond 10,000 they are drawn."""
    trials = np.full(14, 2)
    p = exchange_p((np.zeros(14, int), trials), (np.full(14, 2), trials), HOW)
    assert 1 / 10_001 <= p < 10 / 10_001


def test_examples_of_a_cluster_are_counted_together():
    hits, trials = cluster_counts(np.array([1, 0, 1, 1]), np.ones(4), np.array(list("baba")))
    assert hits.tolist() == [1, 2]
    assert trials.tolist() == [2, 2]


def test_difference_is_paired():
    rng = np.random.default_rng(0)
    before = (rng.random(200) < 0.5).astype(int)
    after = before.copy()
    after[np.flatnonzero(before == 0)[:10]] = 1
    ones = np.ones(200, int)
    gap = difference((before, ones), (after, ones), HOW)
    assert gap.value == pytest.approx(10 / 200)
    # 10 gains in 200: standard error sqrt(.05 * .95 / 200) = .0154; unpaired it would be .05.
    assert gap.high - gap.low == pytest.approx(2 * 1.96 * 0.0154, rel=0.1)
    assert gap.p == pytest.approx(2 / 2**10)


def test_the_permutation_test_holds_its_level():
    rng = np.random.default_rng(1)
    trials = np.full(30, 2)
    ps = [
        exchange_p(
            (rng.binomial(2, 0.4, 30), trials),
            (rng.binomial(2, 0.4, 30), trials),
            Resampling(index, 1, 0.95),
        )
        for index in range(60)
    ]
    assert 0.2 < np.mean(np.array(ps) < 0.5) < 0.8
