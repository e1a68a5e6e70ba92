"""The validation loss: noise fixed per example, at noise levels that cover [0, 1] evenly."""

import math
from collections.abc import Sequence

import torch
from accelerate import Accelerator
from torch import Tensor

from ablate2tune.models import Denoiser
from ablate2tune.seeding import torch_generator
from ablate2tune.train.example_cache import ExampleCache
from ablate2tune.train.train_config import TrainConfig

LEVELS = 8
SIGMAS = tuple((i + 0.5) / LEVELS for i in range(LEVELS))
"""The midpoints of equal bins of [0, 1]."""
STEP_COST = 2
"""Forward passes that a training step costs for each picture: the base is frozen, so that the
backward pass takes as long as the forward one."""


@torch.no_grad()
def validation_losses(
    denoiser: Denoiser,
    cache: ExampleCache,
    examples: Sequence[int],
    captions: Sequence[str],
    seed: int,
    guidance: float,
    batch_size: int,
    accelerator: Accelerator,
) -> list[float]:
    """The mean loss over the examples at each of `SIGMAS`, on noise fixed per example.

    `examples` are indices into the cache, with one caption each; the noise follows from the seed
    and is shared by the noise levels. Examples and levels are split over the processes, with
    `batch_size` of them in a forward pass.
    """
    # Level by level, so that a family that takes one level a call is given few in a batch.
    rows = [(level, example) for level in range(LEVELS) for example in range(len(examples))]
    losses = torch.zeros(LEVELS, len(examples), device=denoiser.device)
    index, processes = accelerator.process_index, accelerator.num_processes
    mine = rows[index * len(rows) // processes : (index + 1) * len(rows) // processes]
    for start in range(0, len(mine), batch_size):
        part = mine[start : start + batch_size]
        levels, places = [level for level, _ in part], [place for _, place in part]
        latents = cache.latents([examples[place] for place in places])
        generators = (torch_generator(seed, "validation", place) for place in places)
        noise = torch.stack([torch.randn(latents.shape[1:], generator=g) for g in generators])
        losses[levels, places] = denoiser.denoising_loss(
            latents,
            noise,
            torch.tensor([SIGMAS[level] for level in levels]),
            cache.captions([captions[place] for place in places]),
            guidance,
        )
    total: Tensor = accelerator.reduce(losses, reduction="sum")  # pyright: ignore
    return total.double().mean(1).tolist()


def side_costs(config: TrainConfig, validation_images: int, prompts: int, sample_steps: int) -> str:
    """What the validations and the sample grids of a run cost beside its training, in a line.

    >>> side_costs(TrainConfig(steps=1000, batch_size=4), 64, 6, 28)
    'on top of training: validation 70 % (5,632 forward passes), samples 13 % (1,008)'
    """
    training = STEP_COST * config.steps * config.batch_size

    def passes(every: int, each: int) -> int:
        return each * (1 + math.ceil(config.steps / every))  # before the first and after the last

    validation = passes(config.validate_every, validation_images * LEVELS)
    samples = passes(config.sample_every, prompts * sample_steps)
    return (
        f"on top of training: validation {100 * validation / training:.0f} % ({validation:,} "
        f"forward passes), samples {100 * samples / training:.0f} % ({samples:,})"
    )
