import itertools

import numpy as np
import pytest

from ablate2tune.errors import UserError
from ablate2tune.statistics.clusters import Clusters
from ablate2tune.statistics.regression_estimate import Carried
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
    how = Resampling(1, 20000, 0.8)
    clusters = Clusters(groups, how)
    low, high = how.bounds(clusters.resampled_means(values))
    # 10 % of 27 cases is the third, 90 % the 25th; ties make them safe from sampling noise.
    assert exact[2] == pytest.approx(low) == pytest.approx(2 / 3)
    assert exact[24] == pytest.approx(high) == pytest.approx(32 / 3)
    # Three clusters: sqrt(3 / 2) and Student's 1.885618 with 2 degrees against the normal 1.281552.
    wider = 1.5**0.5 * 1.885618 / 1.281552
    interval = clusters.mean(values)
    assert interval["value"] == pytest.approx(34 / 6)
    assert interval["low"] == pytest.approx(34 / 6 - wider * 5, rel=1e-5)
    assert interval["high"] == pytest.approx(34 / 6 + wider * 5, rel=1e-5)
    assert interval["n"] == 6


@pytest.mark.parametrize(("draw", "least"), [("normal", 0.93), ("exponential", 0.89)])
def test_intervals_of_few_clusters_hold_the_truth(draw: str, least: float):
    """Percentile bounds alone do in 0.89 and 0.85 of the cases with ten clusters."""
    rng, held = np.random.default_rng(5), 0
    clusters = Clusters([str(i // 2) for i in range(20)], Resampling(0, 1000, 0.95))
    for _ in range(600):
        values = rng.normal(1, 1, 20) if draw == "normal" else rng.exponential(1, 20)
        interval = clusters.mean(values)
        held += interval["low"] <= 1 <= interval["high"]
    assert least < held / 600 < 0.97


def test_what_a_cluster_says_of_the_mean():
    """Sizes 3 and 1: the mean is 2, and the larger cluster moves it more."""
    values = np.array([1.0, 1.0, 1.0, 5.0, np.nan])
    clusters = Clusters(["a", "a", "a", "b", "c"], Resampling(0, 10, 0.95))
    found = clusters.by_cluster(values, np.isfinite(values))
    # Of three clusters, a: 2 + 3 / 4 * (3 - 3 * 2), b: 2 + 3 / 4 * (5 - 2).
    np.testing.assert_allclose(found, [-0.25, 4.25, 2])
    # The variance of the mean of a ratio: sum of (sum - mean * size)^2 over the squared total.
    assert np.var(found) / 3 == pytest.approx((3**2 + 3**2) / 4**2)


def test_the_variance_of_an_estimate_that_gradients_steady():
    """Of by_cluster, against repeated draws: 16 of 64 groups measured, a cheap figure of all."""
    rng, names = np.random.default_rng(8), [str(i) for i in range(64)]
    clusters, measured = Clusters(names, Resampling(0, 100, 0.95)), np.arange(64) < 16
    found, said, p = [], [], []
    for _ in range(1500):
        cheap = rng.normal(size=64)
        values = cheap + rng.normal(0, 0.6, 64)
        carried = Carried(cheap, 1)
        table = clusters.by_cluster(values, measured, carried)
        found.append(table.mean())
        said.append(table.var() / 64)
        if len(p) < 400:
            p.append(clusters.signed(np.where(measured, values, np.nan), carried))
        estimate = clusters.estimated_mean(values, measured, carried)
        assert table.mean() == pytest.approx(estimate.value)
    # 0.36 / 16 + 1 / 64; of the first part 15 / 16 are seen.
    assert np.var(found) == pytest.approx(0.36 / 16 + 1 / 64, rel=0.1)
    assert np.mean(said) == pytest.approx(0.36 / 16 * 15 / 16 + 1 / 64, rel=0.05)
    assert 0.02 < np.mean(np.array(clusters.sign_flips(p)) < 0.05) < 0.08


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


def test_sign_flips_of_what_is_left_beside_a_cheap_figure():
    """The cheap figure explains all but a constant on four of five groups, which have no spread
    beside it; and moves each group's part, by at most 0.2 of 0.5, by four fifths of itself."""
    cheap = np.array([0.2, -0.1, 0.2, -0.2, -0.1])
    differences = np.where(np.arange(5) < 4, 0.5 + cheap, np.nan)
    clusters = Clusters([str(i) for i in range(5)], Resampling(0, 10, 0.95))
    # Parts 0.66, 0.42, 0.66, 0.34, -0.08: as extreme as their sum, 2.0, or its mirror, are those
    # with the last one's sign changed as well.
    assert clusters.sign_flips([clusters.signed(differences, Carried(cheap, 1))]) == [4 / 2**5]
    assert clusters.sign_flip_p(differences) == 2 / 2**4


def test_p_can_be_as_small_as_a_whole_model_needs():
    """Every one of 40 groups agrees: p is the least that so many patterns can tell."""
    clusters = Clusters([str(i) for i in range(40)], Resampling(0, 100, 0.95))
    p = clusters.sign_flip_p(np.full(40, 2.0))
    assert 228 * p < 0.05


def test_random_sign_flips_approach_the_exact_p():
    differences = [0.9, -0.4, 0.3, 0.8, -0.7, 0.2, 0.1, 0.5, -0.3, 0.4, -0.2, 0.6]
    differences += [0.1, -0.2, 0.2]
    groups = [str(i) for i in range(15)]
    exact = brute_force_p(differences, groups)
    sampled = Clusters(groups, Resampling(0, 4000, 0.95)).sign_flip_p(np.array(differences))
    assert sampled == pytest.approx(exact, abs=0.01)  # 20,000 of 2^15
    assert Clusters(groups, Resampling(0, 4000, 0.95)).sign_flip_p(np.zeros(15)) == 1.0


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
