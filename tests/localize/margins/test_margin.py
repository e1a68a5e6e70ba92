from dataclasses import replace

import numpy as np
import pytest
import torch

from ablate2tune.localize.margins.caption_losses import (
    Levels,
    Margins,
    batch_loss,
    measure,
    noise_for,
)
from ablate2tune.localize.margins.encoded_examples import Examples
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.models import Conditioning, Denoiser
from ablate2tune.models.schedules import FlowMatching

LATENTS = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[0.0, 1.0], [0.0, -1.0]]])


class FakeDenoiser(Denoiser):
    """Predicts the true velocity plus an offset that the caption alone decides.

    The true velocity of noised latents z is (z - x) / sigma for the known x.
    """

    device = property(lambda _: torch.device("cpu"))

    def __init__(self):
        self.inputs: list[tuple[torch.Tensor, torch.Tensor]] = []

    schedule = FlowMatching()

    def predict(self, latents, sigma, conditioning, guidance=None):
        assert guidance == 1.0
        self.inputs.append((latents, sigma))
        clean = LATENTS[conditioning.prompt_embeds[:, 0, 0].long()]
        offset = conditioning.pooled[:, :1, None] + sigma[:, None, None]
        return (latents - clean) / sigma[:, None, None] + offset


def examples() -> Examples:
    """Captions are rows (image, offset): offset 0, 2, 3 for image 0; 0, 1, 0.5 for image 1."""
    rows = [(0, 0.0), (0, 2.0), (0, 3.0), (1, 0.0), (1, 1.0), (1, 0.5)]
    return Examples(
        ids=["a", "b"],
        groups=["g", "h"],
        latents=LATENTS,
        conditioning=Conditioning(
            torch.tensor([[[float(image)]] for image, _ in rows]),
            torch.tensor([[offset] for _, offset in rows]),
        ),
        rows={"true": [0, 3], "target": [1, 4], "control": [2, 5]},
    )


def levels(**changes) -> Levels:
    return Levels(**{"sigmas": [0.5, 0.25], "noises": 2, "seed": 3, "batch_size": 64} | changes)


def margins_of(denoiser: FakeDenoiser, levels: Levels, chunk=(0, 1)) -> Margins:
    def losses(batch, conditions):
        return {c: batch_loss(denoiser, batch).double().numpy() for c in conditions}

    found = measure(losses, examples(), levels, chunk, [Condition()], denoiser.device)
    return found[Condition()]


def test_margins_by_hand():
    margins = margins_of(FakeDenoiser(), levels())
    # The error of a prediction is offset + sigma everywhere, so a loss is (offset + sigma)^2.
    expected_target = [[2.5**2 - 0.5**2, 2.25**2 - 0.25**2], [1.5**2 - 0.5**2, 1.25**2 - 0.25**2]]
    expected_control = [[3.5**2 - 0.5**2, 3.25**2 - 0.25**2], [1.0 - 0.25, 0.75**2 - 0.25**2]]
    np.testing.assert_allclose(margins.target, expected_target, rtol=1e-5)
    np.testing.assert_allclose(margins.control, expected_control, rtol=1e-5)
    np.testing.assert_allclose(margins.quality, [[-0.25, -0.0625]] * 2, rtol=1e-5)


def test_without_a_control_foil_its_margin_is_not_there():
    whole = examples()
    two = replace(whole, rows={role: whole.rows[role] for role in ("true", "target")})
    denoiser = FakeDenoiser()

    def losses(batch, conditions):
        return {c: batch_loss(denoiser, batch).double().numpy() for c in conditions}

    found = measure(losses, two, levels(), (0, 1), [Condition()], denoiser.device)[Condition()]
    np.testing.assert_allclose(found.target, margins_of(FakeDenoiser(), levels()).target)
    assert np.isnan(found.control).all() and found.control.shape == found.target.shape
    assert levels(texts=2, batch_size=6).examples_per_batch == 3
    assert levels(texts=2).rows_per_example == 2 * 2 * 2


@pytest.mark.parametrize(("batch_size", "images"), [(1, 1), (3, 1), (6, 2), (8, 2), (64, 21)])
def test_captions_of_an_image_go_together(batch_size: int, images: int):
    assert levels(batch_size=batch_size).examples_per_batch == images


def test_margins_do_not_depend_on_the_batch():
    whole = margins_of(FakeDenoiser(), levels())
    for index in (0, 1):
        part = margins_of(FakeDenoiser(), levels(), [index])
        for a, b in zip(whole, part, strict=True):
            np.testing.assert_allclose(a[[index]], b, rtol=1e-5)


def test_captions_of_an_image_share_noise_and_nothing_else_does():
    denoiser = FakeDenoiser()
    margins_of(denoiser, levels())
    assert len(denoiser.inputs) == 4  # two noise levels, two draws
    noises = []
    for latents, sigma in denoiser.inputs:
        caption, foil, control = latents.reshape(3, 2, 2, 2)
        assert torch.equal(caption, foil)
        assert torch.equal(caption, control)
        s = float(sigma[0])
        noises += list((caption - (1 - s) * LATENTS) / s)
    for i, a in enumerate(noises):
        for b in noises[:i]:
            assert not torch.allclose(a, b, atol=1e-2)


def test_noise_is_a_function_of_example_level_and_draw():
    shape = torch.Size([5, 4])
    assert torch.equal(noise_for("a", shape, 0, 1, 0), noise_for("a", shape, 0, 1, 0))
    others = [("b", 0, 1, 0), ("a", 1, 1, 0), ("a", 0, 0, 0), ("a", 0, 1, 1)]
    for name, seed, level, draw in others:
        assert not torch.equal(
            noise_for("a", shape, 0, 1, 0), noise_for(name, shape, seed, level, draw)
        )


def test_a_loss_that_is_not_finite_stays_so():
    class Broken(FakeDenoiser):
        def predict(self, latents, sigma, conditioning, guidance=None):
            return torch.full_like(latents, torch.nan)

    assert all(np.isnan(values).all() for values in margins_of(Broken(), levels()))
