import numpy as np
import pytest

from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.measuring.racing import (
    FIRST_SHARE,
    MIN_GROUPS,
    first_share,
    race,
    spread_order,
    undecided,
)
from ablate2tune.statistics.clusters import Clusters
from ablate2tune.statistics.regression_estimate import carried_over
from ablate2tune.statistics.resampling import Resampling
from ablate2tune.statistics.top_set import Places, places


def condition(name: str) -> Condition:
    return Condition((name,), "skip")


def test_only_open_places_get_more_and_the_most_doubtful_comes_first():
    conditions = [condition(name) for name in "abcd"]
    found = undecided(
        conditions, Places(["in", "open", "open", "out"], np.array([3.0, 0.5, 0.2, 9.0]), 2)
    )
    assert [c.addresses[0] for c in found] == ["c", "b"]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_prefix_of_the_order_spreads_over_the_margins(seed: int):
    groups = [f"{i // 2:02d}" for i in range(128)]
    margins = np.repeat(np.random.default_rng(seed).normal(size=64), 2)
    order = spread_order(groups, margins, seed)
    assert sorted(order) == sorted(set(groups))
    mean = dict(zip(groups, margins, strict=True))
    quarters = np.quantile(list(mean.values()), [0.25, 0.5, 0.75])
    for size in (8, 16, 32):
        counts = np.bincount(np.searchsorted(quarters, [mean[g] for g in order[:size]]))
        assert abs(counts - size / 4).max() <= 2


def test_first_share_is_paid_from_the_budget_but_never_tiny():
    assert first_share(groups=96, cost_per_group=10, budget=336) == 33
    assert first_share(groups=96, cost_per_group=10, budget=0) == MIN_GROUPS
    assert first_share(groups=5, cost_per_group=10, budget=1e9) == 5


def simulated_race(
    true: dict[str, float],
    budget: float,
    groups: int = 96,
    noise: float = 1.0,
    shared: float = 0.0,
    top: int = 2,
):
    """Race on normal figures; returns groups per condition and the money spent."""
    rng = np.random.default_rng(0)
    draws = {condition(n): rng.normal(v, noise, groups) for n, v in true.items()}
    measured = dict.fromkeys(draws, 0)
    spent = 0

    def run(conditions, places):
        nonlocal spent
        for c in conditions:
            assert places.start == measured[c]  # nothing twice
            spent += len(places)
            measured[c] = places.stop

    def standing(counts):
        assert counts == measured
        clusters = Clusters([str(i) for i in range(groups)], Resampling(0, 10, 0.95))
        table = [clusters.by_cluster(draws[c], np.arange(groups) < n) for c, n in counts.items()]
        return places(np.stack(table), list(counts.values()), [1] * len(table), top, 0.95)

    def cost(_, count):
        return count

    reported = race(
        list(draws),
        groups,
        budget,
        cost,
        run,
        standing if top else None,
        lambda count: shared * count,
    )
    assert reported == measured
    return {c.addresses[0]: count for c, count in measured.items()}, spent


def test_the_race_spends_draws_where_the_place_is_open():
    true = {"in": 9.0, "open1": 5.0, "open2": 4.9, **{f"out{i}": 0.0 for i in range(5)}}
    first = 8 * MIN_GROUPS
    measured, spent = simulated_race(true, budget=first / FIRST_SHARE + 2 * 80)
    assert spent <= first / FIRST_SHARE + 2 * 80
    assert {measured[name] for name in true if not name.startswith("open")} == {
        min(measured.values())
    }
    assert min(measured["open1"], measured["open2"]) > measured["in"]
    everything, _ = simulated_race(true, budget=8 * 96, noise=50.0)
    assert set(everything.values()) == {96}  # all open and all paid for: the exhaustive sweep


def test_a_race_ends_when_all_is_settled_whatever_money_is_left():
    true = {"a": 9.0, "b": 8.0, **{str(i): 0.0 for i in range(6)}}
    measured, spent = simulated_race(true, budget=8 * 16 / FIRST_SHARE)
    assert spent == 8 * MIN_GROUPS
    assert set(measured.values()) == {MIN_GROUPS}


def test_where_nothing_is_to_be_settled_all_is_spent_at_once():
    true = {str(i): 0.0 for i in range(8)}
    measured, _ = simulated_race(true, budget=8 * 40, top=0)
    assert set(measured.values()) == {40}


def test_the_budget_holds_beyond_the_first_share():
    _, spent = simulated_race({str(i): float(i) for i in range(10)}, budget=1, noise=9.0)
    assert spent == 10 * MIN_GROUPS


def test_what_a_run_costs_beside_its_conditions_is_paid_too():
    true = {str(i): float(i) for i in range(10)}
    # The first share is 16 groups and costs 160 of 320, or 320 with 10 a group shared.
    assert simulated_race(true, budget=320, noise=9.0)[1] > 224
    assert simulated_race(true, budget=320, noise=9.0, shared=10.0)[1] == 160


def test_regression_estimate_by_hand():
    """One covariate: slope S_xy / (S_xx + 2) over the measured, applied to the difference of means.

    Standardised x = +1, -1 in turn over all; the measured ones are the first 8.
    """
    x = np.tile([1.0, -1.0], 8)
    measured = np.arange(16) < 8
    values = np.where(measured, 3 * x + 7, np.nan)
    carried = carried_over(values, measured, [x])
    assert carried.slopes == 1
    assert carried.values == pytest.approx(x * 24 / 10)  # S_xy = 8 * 3, S_xx = 8
    estimate = Clusters([str(i) for i in range(16)], Resampling(0, 500, 0.95)).estimated_mean(
        values, measured, carried
    )
    assert estimate.value == pytest.approx(7.0)
    assert estimate.n == 8


def test_the_covariate_narrows_the_estimate_and_keeps_it_right():
    rng = np.random.default_rng(2)
    cheap = rng.normal(1, 2, 192)
    dear = 0.8 * cheap + rng.normal(0, 0.3, 192)
    groups = Clusters([str(i // 2) for i in range(192)], Resampling(0, 2000, 0.95))
    measured = np.zeros(192, bool)
    measured[rng.permutation(96)[:24].repeat(2) * 2 + np.tile([0, 1], 24)] = True
    plain = groups.interval(groups.estimated_mean(dear, measured))
    steady = groups.interval(
        groups.estimated_mean(dear, measured, carried_over(dear, measured, [cheap]))
    )
    assert steady["high"] - steady["low"] < 0.75 * (plain["high"] - plain["low"])
    assert steady["value"] == pytest.approx(dear.mean(), abs=0.15)
    assert steady["low"] < dear.mean() < steady["high"]


def test_everything_measured_is_the_plain_mean():
    values = np.random.default_rng(0).normal(size=20)
    everything = np.ones(20, bool)
    groups = Clusters([str(i) for i in range(20)], Resampling(0, 500, 0.9))
    carried = carried_over(values, everything, [np.arange(20.0)])
    assert groups.interval(groups.estimated_mean(values, everything, carried)) == groups.mean(
        values
    )


def test_sign_flips_count_only_what_was_measured():
    # Three groups measured, all positive: 2 of 8 patterns are as extreme.
    values = np.array([1.0, 2.0, np.nan, np.nan, 3.0])
    assert Clusters(list("abcde"), Resampling(0, 1000, 0.95)).sign_flip_p(values) == 2 / 8
