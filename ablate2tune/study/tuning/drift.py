"""What an adapter changes that it should not: prompts without a relation."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ablate2tune.localize.margins.caption_losses import GUIDANCE
from ablate2tune.models import Denoiser
from ablate2tune.scenes.dataset.records import SceneRecord, load_images
from ablate2tune.seeding import numpy_generator, seed_for, torch_generator

SCENES = 48
"""Test scenes whose captions without the relation are predicted."""
SIGMAS = (0.25, 0.5, 0.75, 1.0)
PROMPTS = 12
"""Prompts without a relation of which pictures are drawn."""
BATCH = 32
"""Latents of a forward pass."""


class Predictions(NamedTuple):
    """Of noised test scenes under captions without the relation."""

    predicted: Tensor
    """(scenes x sigmas, ...), float32 on the CPU."""
    loss: float
    """Mean squared error against the family's target."""


class Picture(NamedTuple):
    """What a picture is drawn from."""

    prompt: str
    seed: int


def drawn_pictures(records: Sequence[SceneRecord], seed: int) -> list[Picture]:
    """Prompts without a relation and their seeds, drawn from the test scenes' own."""
    prompts = list(dict.fromkeys(record.pair_text for record in records))
    order = numpy_generator(seed, "study prompts").permutation(len(prompts))[:PROMPTS]
    return [Picture(prompts[int(i)], seed_for(seed, "study picture", int(i))) for i in order]


@torch.no_grad()
def plain_predictions(denoiser: Denoiser, records: Sequence[SceneRecord], seed: int) -> Predictions:
    """What the denoiser predicts under captions without a relation, at every noise level."""
    order = numpy_generator(seed, "study scenes").permutation(len(records))[:SCENES]
    scenes = [records[int(i)] for i in order]
    latents = denoiser.encode_images(load_images(scenes)).float()
    conditioning = denoiser.encode_prompts([scene.pair_text for scene in scenes])
    predicted, losses = list[Tensor](), list[Tensor]()
    for level, sigma in enumerate(SIGMAS):
        generator = torch_generator(seed, "study noise", level)
        noise = torch.randn(latents.shape, generator=generator).to(latents.device)
        for start in range(0, len(scenes), BATCH):
            rows = slice(start, start + BATCH)
            levels = torch.full((len(latents[rows]),), sigma, device=latents.device)
            arguments = latents[rows], noise[rows], levels, conditioning[rows], GUIDANCE
            output = denoiser.predict_noised(*arguments).float()
            target = denoiser.schedule.target(latents[rows], noise[rows], levels)
            losses.append((output - target).flatten(1).square().mean(1).cpu())
            predicted.append(output.cpu())
    return Predictions(torch.cat(predicted), float(torch.cat(losses).double().mean()))


def prediction_drift(base: Tensor, now: Tensor) -> float:
    """Mean squared difference of two sets of predictions, as a share of the base's mean square."""
    return float((now - base).double().square().mean() / base.double().square().mean())


def pixel_drift(base: np.ndarray, now: np.ndarray) -> float:
    """Mean absolute difference of pictures, uint8, as a share of the full range."""
    return float(np.abs(now.astype(float) - base.astype(float)).mean() / 255)


def feature_drift(base: Tensor, now: Tensor) -> float:
    """Distance of the pictures' features, (pictures, ...), as a share of the base's own norm.

    The features are the latents of the model's own VAE, which needs no further network.
    """
    distance = (now - base).flatten(1).double().norm(dim=1)
    return float((distance / base.flatten(1).double().norm(dim=1)).mean())
