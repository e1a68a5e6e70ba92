"""Mode noise: its size by hand, and that a row's noise is its own in any batch."""

import pytest
import torch

from ablate2tune.ablation import Ablation, Support, ablated, ablated_rows, collect_means
from ablate2tune.errors import UserError
from ablate2tune.models import FluxDenoiser

FF, BLOCK = "transformer_blocks.1.ff", "single_transformer_blocks.0"
SEEDS = (5, 6, 7)


@pytest.fixture
def run(tiny_flux: FluxDenoiser):
    conditioning = tiny_flux.encode_prompts(["a red ball", "a green cone", "a blue cube"])
    latents = torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(7))

    def forward(rows=(0, 1, 2)) -> torch.Tensor:
        chosen, sigma = list(rows), torch.full((len(rows),), 0.7)
        return tiny_flux.predict(latents[chosen], sigma, conditioning[chosen])

    return forward


def output(model, address: str, call) -> torch.Tensor:
    seen: list[torch.Tensor] = []
    module = model.get_submodule(address)
    handle = module.register_forward_hook(lambda _m, _a, value: seen.append(value))
    call()
    handle.remove()
    return seen[0]


def test_the_noise_has_the_spread_of_the_examples(tiny_flux, run):
    model = tiny_flux.model
    means = collect_means(model, [FF], lambda _: run(), spreads=True)
    plain = output(model, FF, run)
    with ablated(model, [Ablation(FF, "noise")], Support(means, row_seeds=SEEDS)):
        noised = output(model, FF, run)  # this hook comes after that of the ablation
    unit = (noised - plain) / plain.std(0, correction=0)
    assert abs(unit.mean()) < 0.1
    assert abs(unit.std() - 1) < 0.1
    assert not torch.allclose(unit[0], unit[1], atol=0.1)


@pytest.mark.parametrize("address", [FF, BLOCK, "transformer_blocks.0.attn[heads=1]"])
def test_a_row_has_the_same_noise_in_any_batch(tiny_flux, run, address: str):
    model, ablation = tiny_flux.model, [Ablation(address, "noise")]
    means = collect_means(model, [address], lambda _: run(), spreads=True)
    with ablated(model, ablation, Support(means, row_seeds=SEEDS)):
        together = run()
    assert not torch.allclose(together, run())
    with ablated(model, ablation, Support(means, row_seeds=(SEEDS[2], SEEDS[0]))):
        torch.testing.assert_close(run((2, 0)), together[[2, 0]], atol=1e-5, rtol=1e-5)
    with ablated_rows(model, [[], ablation], Support(means, row_seeds=SEEDS)):
        both = run((0, 1, 2, 0, 1, 2))
    torch.testing.assert_close(both, torch.cat([run(), together]), atol=1e-5, rtol=1e-5)
    with ablated(model, ablation, Support(means, row_seeds=(1, 2, 3))):
        assert not torch.allclose(run(), together)


def test_what_does_not_vary_gets_no_noise(tiny_flux, run):
    same = (0, 0, 0)
    means = collect_means(tiny_flux.model, [FF], lambda _: run(same), spreads=True)
    with ablated(tiny_flux.model, [Ablation(FF, "noise")], Support(means, row_seeds=SEEDS)):
        torch.testing.assert_close(run(), run(), atol=0, rtol=0)
        noised = run()
    torch.testing.assert_close(noised, run(), atol=1e-5, rtol=1e-5)


def test_what_it_lacks_is_said(tiny_flux, run):
    plain = collect_means(tiny_flux.model, [FF], lambda _: run())
    for support, message in [
        (Support(row_seeds=SEEDS), "needs calibrated spreads; call collect_means"),
        (Support(plain, row_seeds=SEEDS), "no calibrated spread at noise level 0"),
        (Support(plain), "needs a seed for each row"),
        (Support(plain, row_seeds=SEEDS[:2]), "2 row seeds for 3 rows"),
    ]:
        with (
            pytest.raises(UserError, match=message),
            ablated(tiny_flux.model, [Ablation(FF, "noise")], support),
        ):
            run()
