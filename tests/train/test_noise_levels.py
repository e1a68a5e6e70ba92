import math

import pytest
import torch

from ablate2tune.train.noise_levels import bin_shares, raised, sample_high, sample_sigmas


# P(sigma <= s*x / (1 + (s-1)*x)) with x = sigmoid(z) is Phi(z), whatever the shift s.
@pytest.mark.parametrize("z, probability", [(-1.0, 0.158655), (0.0, 0.5), (1.5, 0.933193)])
@pytest.mark.parametrize("shift", [1.0, 3.16])
def test_flux_shift_quantiles(z: float, probability: float, shift: float):
    x = 1 / (1 + math.exp(-z))
    bound = shift * x / (1 + (shift - 1) * x)
    sigma = sample_sigmas(200_000, "flux_shift", shift, torch.Generator().manual_seed(0))
    # Four standard errors of a proportion at n = 200,000 are below 0.0045.
    assert (sigma <= bound).float().mean().item() == pytest.approx(probability, abs=0.0045)


def test_flux_shift_median_by_hand():
    sigma = sample_sigmas(200_001, "flux_shift", 3.0, torch.Generator().manual_seed(1))
    assert sigma.median().item() == pytest.approx(0.75, abs=0.003)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_logit_normal_takes_no_shift(shift: float):
    sigma = sample_sigmas(200_000, "logit_normal", shift, torch.Generator().manual_seed(2))
    logit = (sigma / (1 - sigma)).log()
    assert logit.mean().item() == pytest.approx(0.0, abs=0.01)
    assert logit.std().item() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_uniform_takes_no_shift(shift: float):
    sigma = sample_sigmas(200_000, "uniform", shift, torch.Generator().manual_seed(3))
    for bound in (0.1, 0.5, 0.8):
        assert (sigma < bound).float().mean().item() == pytest.approx(bound, abs=0.0045)


def test_sigmas_depend_on_the_generator_alone():
    first, again = (
        sample_sigmas(5, "flux_shift", 2.0, torch.Generator().manual_seed(4)) for _ in range(2)
    )
    torch.manual_seed(99)
    assert torch.equal(first, again)


@pytest.mark.parametrize("shift", [1.0, 3.0, 15.0])
@pytest.mark.parametrize("density", ["flux_shift", "logit_normal", "uniform"])
def test_bin_shares_are_those_of_the_draws(density, shift: float):
    sigma = sample_sigmas(200_000, density, shift, torch.Generator().manual_seed(5))
    drawn = torch.histc(sigma, bins=8, min=0, max=1) / 200_000
    assert bin_shares(8, density, shift) == pytest.approx(drawn.tolist(), abs=0.0045)


def test_a_share_is_drawn_anew_at_the_high_shift():
    usual = torch.rand(200_000, generator=torch.Generator().manual_seed(6))
    which, how_high = (torch.Generator().manual_seed(seed) for seed in (7, 8))
    sigma, high = sample_high(usual, 0.3, 60.0, which, how_high)
    assert torch.equal(sigma[~high], usual[~high])
    assert high.float().mean().item() == pytest.approx(0.3, abs=0.0045)
    # The median of sigmoid(N(0, 1)) is 1/2, and 60 * 0.5 / (1 + 59 * 0.5) = 0.98361.
    assert sigma[high].median().item() == pytest.approx(0.98361, abs=0.0005)
    drawn = torch.histc(sigma, bins=8, min=0, max=1) / 200_000
    assert bin_shares(8, "uniform", 1.0, 0.3, 60.0) == pytest.approx(drawn.tolist(), abs=0.0045)


def test_bin_shares_by_hand():
    # sigma > 0.5 where x > 1/4 of the unshifted, sigmoid(z) > 1/4 where z > -log 3 = -1.0986.
    assert bin_shares(2, "flux_shift", 3.0) == pytest.approx([0.13597, 0.86403], abs=1e-5)
    assert bin_shares(4, "uniform", 3.0) == [0.25] * 4


def test_levels_above_a_lowest():
    sigma = torch.tensor([0.0, 0.25, 1.0])
    assert raised(sigma, 0.6).tolist() == pytest.approx([0.6, 0.7, 1.0])
    assert all(raised(torch.ones(1), low / 100).item() == 1 for low in range(100)), "exactly"
    drawn = raised(torch.rand(200_000, generator=torch.Generator().manual_seed(6)), 0.6)
    shares = torch.histc(drawn, bins=8, min=0, max=1) / 200_000
    assert bin_shares(8, "uniform", 1.0, lowest=0.6) == pytest.approx(shares.tolist(), abs=0.0045)
    # Bins end at .625, .75, .875 and 1: of the 0.4 above .6 these are 1/16, and 5/16 each.
    by_hand = [0] * 4 + [0.0625] + [0.3125] * 3
    assert bin_shares(8, "uniform", 1.0, lowest=0.6) == pytest.approx(by_hand)
