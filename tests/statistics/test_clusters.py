import itertools

import numpy as np
import pytest

from ablate2tune.errors import UserError
from ablate2tune.statistics.clusters import Clusters
from ablate2tune.statistics.resampling import Resampling, corrected


def test_benjamini_hochberg_by_hand():
    # m = 4, sorted .01 .02 .03 .5: p*m/rank = .04 .04 .04 .5.
    assert corrected([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.04, 0.04, 0.5, 0.04])
    # .01*3/1 = .03, .04*3/2 = .06, .05*3/3 = .05; the second is pulled down to the third.
    assert corrected([0.01, 0.04, 0.05]) == pytest.approx([0.03, 0.05, 0.05])
    assert corrected([]) == []


def test_bootstrap_against_the_exact_distribution():
    """Three groups of two: all 27 resamples can be listed; the quantiles must agree."""
    values = np.array([1.0, 3.0, 0.0, 0.0, 10.0, 20.0])
    groups = ["a", "a", "b", "b", "c", "c"]
    means = [2.0, 0.0, 15.0]
    exact = sorted(np.mean(draw) for draw in itertools.product(means, repeat=3))
    interval = Clusters(groups, Resampling(1, 20000, 0.8)).mean(values)
    assert interval["value"] == pytest.approx(34 / 6)
    # 10 % of 27 cases is the third, 90 % the 25th; ties make them safe from sampling noise.
    assert exact[2] == pytest.approx(interval["low"]) == pytest.approx(2 / 3)
    assert exact[24] == pytest.approx(interval["high"]) == pytest.approx(32 / 3)
    assert interval["n"] == 6


def test_groups_of_unequal_size_weigh_by_their_images():
    values = np.array([1.0, 1.0, 1.0, 5.0])
    groups = Clusters(["a", "a", "a", "b"], Resampling(0, 5000, 0.95))
    # Both groups: 8/4; a twice: 1; b twice: 5.
    assert {round(float(x), 6) for x in groups.resampled_means(values)} == {1.0, 2.0, 5.0}


def test_twins_are_not_counted_as_independent():
    rng = np.random.default_rng(0)
    per_group = rng.normal(size=50)
    doubled = np.repeat(per_group, 2)
    names = [str(i // 2) for i in range(100)]
    paired = Clusters(names, Resampling(0, 4000, 0.95)).mean(doubled)
    single = Clusters([str(i) for i in range(50)], Resampling(0, 4000, 0.95)).mean(per_group)
    width = paired["high"] - paired["low"]
    assert width == pytest.approx(single["high"] - single["low"], rel=0.05)


def test_interval_of_a_normal_mean():
    values = np.random.default_rng(3).normal(size=400)
    interval = Clusters([str(i) for i in range(400)], Resampling(0, 4000, 0.95)).mean(values)
    half = 1.96 * values.std() / 20
    assert interval["low"] == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert interval["high"] == pytest.approx(values.mean() + half, abs=0.15 * half)


def brute_force_p(differences: list[float], groups: list[str]) -> float:
    sums = [
        sum(d for d, g in zip(differences, groups, strict=True) if g == name)
        for name in sorted(set(groups))
    ]
    extreme = 0
    for signs in itertools.product((1, -1), repeat=len(sums)):
        total = sum(s * x for s, x in zip(signs, sums, strict=True))
        extreme += abs(total) >= abs(sum(sums)) - 1e-12
    return extreme / 2 ** len(sums)


def test_sign_flip_against_brute_force():
    differences = [0.3, 0.1, 0.7, -0.2, 0.5, 0.4, 0.2, 0.1, 0.6, -0.1]
    groups = [str(i // 2) for i in range(10)]
    exact = brute_force_p(differences, groups)
    assert exact == 2 / 32  # only the observed signs and their mirror image
    assert Clusters(groups, Resampling(0, 1000, 0.95)).sign_flip_p(np.array(differences)) == exact


def test_random_sign_flips_approach_the_exact_p():
    differences = [0.9, -0.4, 0.3, 0.8, -0.7, 0.2, 0.1, 0.5, -0.3, 0.4, -0.2, 0.6]
    groups = [str(i) for i in range(12)]
    exact = brute_force_p(differences, groups)
    sampled = Clusters(groups, Resampling(0, 4000, 0.95)).sign_flip_p(np.array(differences))
    assert sampled == pytest.approx(exact, abs=0.025)
    assert Clusters(groups, Resampling(0, 4000, 0.95)).sign_flip_p(np.zeros(12)) == 1.0


def test_accuracy_of_one_has_the_binomial_interval():
    # Clopper-Pearson for 10 of 10: the lower bound solves p^10 = 0.025.
    interval = Clusters([str(i) for i in range(10)], Resampling(0, 100, 0.95)).accuracy(
        np.ones(10, bool)
    )
    assert interval["low"] == pytest.approx(0.025**0.1)
    assert (interval["value"], interval["high"]) == (1.0, 1.0)


def test_one_group_is_refused():
    with pytest.raises(UserError, match=r"1 group of examples"):
        Clusters(["a", "a"], Resampling(0, 10, 0.95))
