"""Gradients against finite differences, and slopes against the gradients of single pictures."""

import pytest
import torch

from ablate2tune.localize.margins.caption_losses import Batch, noised_batch
from ablate2tune.localize.margins.gain import slopes, steepest, weight_gradients
from ablate2tune.localize.measuring.engine import Engine

MODULES = [
    "single_transformer_blocks.0.proj_out",
    "transformer_blocks.0.attn.add_k_proj",  # of the text alone: no latent reaches it
    "transformer_blocks.1.attn.to_q",
    "transformer_blocks.1.attn.to_add_out",
]


def test_the_steepest_step_by_hand():
    step = steepest(torch.diag(torch.tensor([3.0, 2.0, 1.0])), rank=2)
    torch.testing.assert_close(step.left @ step.right.T, torch.diag(torch.tensor([3.0, 2.0, 0.0])))
    assert step.parameters == 2 * 6
    wide = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    whole = steepest(wide, rank=9)
    torch.testing.assert_close(whole.left @ whole.right.T, wide)
    assert whole.parameters == 4 * 11


def test_weight_gradients_against_finite_differences(tiny_flux):
    generator = torch.Generator().manual_seed(1)
    rows, columns = tiny_flux.latent_grid
    latents, noise = (torch.randn(1, rows * columns, 16, generator=generator) for _ in range(2))
    captions = ["a red cube left of a blue ball", "a red cube right of a blue ball", "a red cube"]
    conditioning = tiny_flux.encode_prompts(captions)
    batch = Batch(latents.repeat(3, 1, 1), noise.repeat(3, 1, 1), 0.6, 0, conditioning)
    name = "single_transformer_blocks.0.proj_out"
    engine = Engine(tiny_flux, 64)
    gradient = weight_gradients(engine, [batch], [name], texts=3)[name]
    assert engine.evaluations == 2 * 4 * 3  # two captions, four blocks; forward and two backward
    weight = tiny_flux.model.get_submodule(name).weight

    @torch.no_grad()
    def spatial_loss(step: float, place: tuple[int, int]) -> float:
        weight[place] += step
        velocity = noised_batch(tiny_flux, batch.latents, batch.noise, 0.6, conditioning).double()
        weight[place] -= step
        true, foil, _ = (velocity - (noise - latents).double()).square().mean((1, 2)).tolist()
        return true - foil

    place = divmod(int(gradient.abs().argmax()), gradient.shape[1])
    slope = (spatial_loss(0.05, place) - spatial_loss(-0.05, place)) / 0.1
    assert float(gradient[place]) == pytest.approx(slope, rel=0.05)


def test_slopes_against_the_gradients_of_single_pictures(tiny_flux):
    generator = torch.Generator().manual_seed(2)
    rows, columns = tiny_flux.latent_grid
    latents, noise = (torch.randn(2, rows * columns, 16, generator=generator) for _ in range(2))
    texts = ["a red cube left of a blue ball", "a green cone behind a red ball"]
    texts += ["a red cube right of a blue ball", "a green cone in front of a red ball", "a", "b"]
    conditioning = tiny_flux.encode_prompts(texts)
    batch = Batch(latents.repeat(3, 1, 1), noise.repeat(3, 1, 1), 0.7, 0, conditioning)
    engine = Engine(tiny_flux, 64)
    steps = {
        name: steepest(torch.randn(*weight.shape, generator=generator), rank=3)
        for name in MODULES
        for weight in [tiny_flux.model.get_submodule(name).weight]
    }
    found = slopes(engine, batch, steps, texts=3)
    assert engine.evaluations == 2 * 4 * 4  # four rows, four blocks; forward and one backward
    for picture in (0, 1):
        alone = weight_gradients(engine, [batch[picture::2]], MODULES, texts=3)
        for name, (left, right) in steps.items():
            expected = float((left @ right.T * alone[name]).sum())
            assert expected != 0
            assert found[name][picture] == pytest.approx(expected, rel=1e-3), name
    assert not any(weight.requires_grad for weight in tiny_flux.model.parameters())
