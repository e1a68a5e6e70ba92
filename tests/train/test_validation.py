from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from ablate2tune.recipe import load_recipe
from ablate2tune.seeding import torch_generator
from ablate2tune.train.train_config import TrainConfig
from ablate2tune.train.validation import (
    SIGMAS,
    HeldOut,
    levels_above,
    passes_per_picture,
    side_costs,
    validation_losses,
)


class Examples:
    """Latents of 2 tokens that hold the example's number; captions are themselves."""

    def latents(self, examples):
        return torch.tensor(examples).float()[:, None, None].expand(-1, 2, 1)

    def captions(self, captions):
        return list(captions)

    def masks(self, examples):
        return None

    def size_of(self, example):
        return None

    def together(self, examples):
        return [list(range(len(examples)))]


class Denoiser:
    """Loses example + 10 * caption + 100 * sigma + 1000 * noise; counts its rows."""

    device = torch.device("cpu")

    def __init__(self):
        self.batches: list[list[float]] = []

    def denoising_loss(self, latents, noise, sigma, conditioning, guidance):
        assert guidance == 1.5 and not torch.is_grad_enabled()
        self.batches.append(sigma.tolist())
        told = torch.tensor([float(caption) for caption in conditioning])
        return latents[:, 0, 0] + 10 * told + 100 * sigma + 1000 * noise[:, 0, 0]


def losses_of(denoiser: Denoiser, batch_size: int) -> list[float]:
    one = Accelerator(cpu=True)
    captions = ["7", "8", "9"]
    held_out = HeldOut(denoiser, Examples(), [4, 5, 6], 11, 1.5, batch_size, one)  # type: ignore
    return validation_losses(held_out, captions)


def by_hand(seed: int) -> list[float]:
    first = [torch.randn(2, 1, generator=torch_generator(seed, "validation", i)) for i in range(3)]
    noise = sum(x[0, 0].item() for x in first) / 3
    # Examples 4, 5, 6 under captions 7, 8, 9: means 5 and 8.
    return [5 + 80 + 100 * sigma + 1000 * noise for sigma in SIGMAS]


def test_every_example_at_every_level_by_hand():
    for batch_size in (1, 3, 5, 24, 100):
        denoiser = Denoiser()
        losses = losses_of(denoiser, batch_size)
        torch.testing.assert_close(losses, by_hand(11), rtol=1e-5, atol=1e-2)
        assert len(denoiser.batches) == -(-24 // batch_size)


def test_levels_are_mixed_only_where_they_meet():
    denoiser = Denoiser()
    losses_of(denoiser, 3)
    assert denoiser.batches == [[sigma] * 3 for sigma in SIGMAS]


def test_passes_of_a_picture_by_hand():
    # Of ten pictures five state the relation, two of those at high noise: ten captions and two
    # foils, twice each, and eight predictions of the base.
    config = TrainConfig(
        caption_dropout=0.2, plain_captions=0.3, high_noise=0.4, contrast=4, retention=1
    )
    assert passes_per_picture(config) == pytest.approx((2 * 12 + 8) / 10)
    assert passes_per_picture(TrainConfig()) == 2


def test_costs_by_hand():
    # 4,000 pictures of two passes each; 11 validations of 64 x 8 rows; grids of 6 pictures of 28
    # steps before step 1 and after steps 200, 400, 600, 800 and 1000.
    config = TrainConfig(steps=1000, batch_size=4, validate_every=100, sample_every=200)
    line = "on top of training: validation 70 % (5,632 forward passes), samples 13 % (1,008)"
    assert side_costs(config, 512, 6, 28) == line


def test_beside_the_recipe_for_flux_validation_costs_little():
    """It took as long as training: 5,632 forward passes, on top of 8,000."""
    recipe = load_recipe(Path(__file__).parents[2] / "recipes" / "flux1-dev.yaml")
    rows = 8 * recipe.train.validation_images
    told = side_costs(recipe.train, rows, recipe.train.sample_prompts, recipe.compare.steps)
    assert "validation 8 % (640 forward passes), samples 6 % (504)" in told


def test_where_an_adapter_begins_to_act_it_is_seen():
    """Bins end at 1/8, ..., 1; in the middle of the last, .9375, one from .95 on would be off."""
    assert levels_above(0.0) == SIGMAS
    assert levels_above(0.95) == (*SIGMAS[:-1], 0.975)
    assert levels_above(0.5) == SIGMAS
    assert levels_above(0.85) == (*SIGMAS[:6], 0.8625, SIGMAS[7])
    assert all(any(level >= low / 100 for level in levels_above(low / 100)) for low in range(100))
