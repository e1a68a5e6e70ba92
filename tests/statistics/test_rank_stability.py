import numpy as np
import pytest
from scipy import stats

from ablate2tune.statistics.rank_stability import agreement, split_half

GROUPS = [str(i // 2) for i in range(24)]


def test_a_clear_order_is_stable_and_noise_is_not():
    rng = np.random.default_rng(0)
    clear = np.arange(10)[:, None] + rng.normal(0, 0.01, (10, 24))
    found = split_half(clear, GROUPS, top=3, seed=1)
    assert found is not None
    assert (found.spearman, *found.middle_90) == pytest.approx((1.0, 1.0, 1.0))
    assert found.top_shared == 1.0
    assert (found.groups, found.top) == (12, 3)
    noise = rng.normal(size=(200, 24))
    unclear = split_half(noise, GROUPS, top=8, seed=1, splits=50)
    assert unclear is not None
    assert abs(unclear.spearman) < 0.2
    assert unclear.top_shared < 0.3


def test_stability_uses_only_what_all_were_measured_on():
    impacts = np.arange(5.0)[:, None] * np.ones(24)
    impacts[2, 10:] = np.nan
    found = split_half(impacts, GROUPS, top=2, seed=0)
    assert found is not None
    assert (found.groups, found.spearman) == (5, pytest.approx(1.0))
    impacts[3, :6] = np.nan
    assert split_half(impacts, GROUPS, top=2, seed=0) is None  # two groups are left


def test_agreement_against_scipy():
    figures = {"impact": [1.0, 2.0, 3.0, 5.0], "gradient": [2.0, 1.0, 4.0, 3.0]}
    found = agreement(figures | {"specificity": [1.0, None, 2.0, 3.0]})
    expected = stats.spearmanr(figures["impact"], figures["gradient"]).statistic
    assert found == {"impact~gradient": pytest.approx(expected)}
    assert agreement({"impact": [1.0, 2.0], "gradient": [1.0, 2.0]}) == {}
