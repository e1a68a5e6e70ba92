"""The validation loss: noise fixed per example, at noise levels that cover [0, 1] evenly."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor

from ablate2tune.models import Denoiser
from ablate2tune.seeding import torch_generator
from ablate2tune.train.example_cache import ExampleCache
from ablate2tune.train.size_buckets import at_size
from ablate2tune.train.train_config import TrainConfig

LEVELS = 8
SIGMAS = tuple((i + 0.5) / LEVELS for i in range(LEVELS))
"""The midpoints of equal bins of [0, 1]."""
STEP_COST = 2
"""Forward passes that a training step costs for each picture: the base is frozen, so that the
backward pass takes as long as the forward one."""


class Row(NamedTuple):
    """An example under a caption at a noise level."""

    place: int
    """Among the held-out examples; the noise follows from the seed and this."""
    sigma: float
    caption: str


@dataclass(frozen=True)
class HeldOut:
    """Examples that are not trained on, and how their losses are measured."""

    denoiser: Denoiser
    cache: ExampleCache
    examples: Sequence[int]
    """Their indices in the cache."""
    seed: int
    guidance: float
    """See `Denoiser.predict`."""
    batch_size: int
    """Rows to a forward pass."""
    accelerator: Accelerator
    """Its processes share the rows; each gets all losses."""

    @torch.no_grad()
    def losses(self, rows: Sequence[Row], kept: bool = False) -> Tensor:
        """The loss of each row, (rows,), float64.

        Args:
            rows: in any order.
            kept: whether it is taken against the prediction without the adapter.
        """
        losses = torch.zeros(len(rows), device=self.denoiser.device)
        index, processes = self.accelerator.process_index, self.accelerator.num_processes
        end = (index + 1) * len(rows) // processes
        for start in range(index * len(rows) // processes, end, self.batch_size):
            part = list(range(start, min(start + self.batch_size, end)))
            for those in self.cache.together([self.examples[rows[i].place] for i in part]):
                chosen = [part[i] for i in those]
                losses[chosen] = self._of_one_size([rows[i] for i in chosen], kept)
        total: Tensor = self.accelerator.reduce(losses, reduction="sum")  # pyright: ignore
        return total.double()

    def _of_one_size(self, rows: Sequence[Row], kept: bool) -> Tensor:
        places, levels, captions = zip(*rows, strict=True)
        examples = [self.examples[place] for place in places]
        latents, masks = self.cache.latents(examples), self.cache.masks(examples)
        generators = (torch_generator(self.seed, "validation", place) for place in places)
        noise = torch.stack([torch.randn(latents.shape[1:], generator=g) for g in generators])
        asked: dict[str, Any] = {"kept": torch.ones(len(places), dtype=torch.bool)} if kept else {}
        if masks is not None:
            asked["weight"] = masks
        with at_size(self.denoiser, self.cache.size_of(self.examples[places[0]])):
            return self.denoiser.denoising_loss(
                latents,
                noise,
                torch.tensor(levels),
                self.cache.captions(captions),
                self.guidance,
                **asked,
            )


def levels_above(lowest: float) -> tuple[float, ...]:
    """`SIGMAS`; of the bin in which an adapter begins to act, the middle of where it does.

    >>> levels_above(0.95)[-2:]
    (0.8125, 0.975)
    """
    ends = [(i + 1) / LEVELS for i in range(LEVELS)]
    pairs = zip(SIGMAS, ends, strict=True)
    return tuple(
        (lowest + end) / 2 if end - 1 / LEVELS < lowest < end else sigma for sigma, end in pairs
    )


def validation_losses(
    held_out: HeldOut, captions: Sequence[str], sigmas: Sequence[float] = SIGMAS
) -> list[float]:
    """The mean loss of the examples under a caption each, at each of `LEVELS` noise levels.

    The noise of an example is shared by the noise levels.
    """
    rows = [Row(place, sigma, text) for sigma in sigmas for place, text in enumerate(captions)]
    return held_out.losses(rows).reshape(LEVELS, -1).mean(1).tolist()


def passes_per_picture(config: TrainConfig) -> float:
    """Forward passes that a step costs for each picture, if full captions state true relations.

    >>> passes_per_picture(TrainConfig(plain_captions=0.25, contrast=4, retention=1))
    3.75

    Twins have their four losses from two passes.

    >>> passes_per_picture(TrainConfig(contrast=4, high_noise=0.5, twins=True))
    2.0
    """
    full, taught = 1 - config.caption_dropout - config.plain_captions, config.high_noise or 1
    pairs = full * taught if config.contrast and not config.twins else 0.0
    return STEP_COST * (1 + pairs) + retained_share(config)


def retained_share(config: TrainConfig) -> float:
    """The share of a step's pictures whose target is the base's own prediction.

    >>> retained_share(TrainConfig(plain_captions=0.25, retention=1, high_noise=0.5))
    0.625
    """
    if not config.retention:
        return 0.0
    taught = 1 if config.acts_above else config.high_noise or 1
    return 1 - (1 - config.caption_dropout - config.plain_captions) * taught


def side_costs(config: TrainConfig, validation_rows: int, prompts: int, sample_steps: int) -> str:
    """What the validations and the sample grids of a run cost beside its training, in a line.

    >>> side_costs(TrainConfig(steps=1000, batch_size=4), 64 * LEVELS, 6, 28)
    'on top of training: validation 70 % (5,632 forward passes), samples 13 % (1,008)'
    """
    training = round(config.steps * config.batch_size * passes_per_picture(config))

    def passes(every: int, each: int) -> int:
        return each * (1 + math.ceil(config.steps / every))  # before the first and after the last

    validation = passes(config.validate_every, validation_rows)
    samples = passes(config.sample_every, prompts * sample_steps)
    return (
        f"on top of training: validation {100 * validation / training:.0f} % ({validation:,} "
        f"forward passes), samples {100 * samples / training:.0f} % ({samples:,})"
    )
