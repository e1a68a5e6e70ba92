"""Power laws that are known, and too few sizes."""

import pytest

from ablate2tune.statistics.power_law import fit_power_law

SIZES = [100.0, 1000.0, 10000.0, 50000.0]


def test_a_known_law_is_found_in_every_block():
    blocks = [{n: 3 * n**-0.25 for n in SIZES}, {n: 12 * n**-0.35 for n in SIZES}]
    law = fit_power_law(blocks, 0.95)
    assert law is not None
    assert law.exponent.value == pytest.approx(0.3)
    # Two blocks .05 from their mean: t of one degree of freedom, 12.706, times .05.
    assert law.exponent.high == pytest.approx(0.3 + 12.7062 * 0.05, abs=1e-4)
    assert law.factor == pytest.approx(6.0)
    assert law.sizes == 4


def test_nothing_is_fitted_to_few_sizes():
    assert fit_power_law([{n: 1 / n for n in SIZES}, {n: 1 / n for n in SIZES[1:]}], 0.95) is None
    assert fit_power_law([], 0.95) is None
