"""Sampling with components ablated: means are those of the nearest calibrated noise level."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ablate2tune.ablation import Support, ablated
from ablate2tune.ablation.streams import bound_arguments
from ablate2tune.errors import UserError
from ablate2tune.localize.margins.caption_losses import Levels, noised_batch
from ablate2tune.localize.measuring.activation_means import Calibration
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.measuring.engine import Engine
from ablate2tune.models import Denoiser
from ablate2tune.seeding import torch_generator


class ObstacleError(Exception):
    """A condition cannot be measured; the others can."""


class AblatedSampling:
    """Samples under conditions, with means that are calibrated when they are first needed."""

    def __init__(
        self, denoiser: Denoiser, calibration: Calibration, engine: Engine, levels: Levels
    ):
        """Nothing is run yet.

        Args:
            denoiser: the model.
            calibration: where means come from.
            engine: takes the means.
            levels: noise levels; at each sampling step the means of the nearest one count.
        """
        self._denoiser, self._calibration, self._engine = denoiser, calibration, engine
        self._levels, self._timesteps = levels, list[float]()

    def prepare(self, conditions: Sequence[Condition], write: bool) -> None:
        """Calibrate what the conditions need; `write` keeps it on the disk."""
        self._calibration.prepare(self._engine, conditions, write)
        if not self._timesteps and any(c.needs("means", "spreads") for c in conditions):
            self._timesteps = calibrated_timesteps(self._denoiser, self._run_levels)

    @contextmanager
    def under(self, condition: Condition) -> Iterator[None]:
        """Within this context the model samples with the condition's components ablated.

        Raises:
            ObstacleError: they cannot be ablated while it samples.
        """
        try:
            support = Support(self._engine.means, self._engine.directions)
            with ablated_sampling(self._denoiser, condition, support, self._timesteps):
                yield
        except UserError as error:
            if not condition.addresses:
                raise
            raise ObstacleError(str(error)) from error

    def _run_levels(self) -> None:
        for sigma in self._levels.sigmas:
            run_once(self._denoiser, sigma, self._levels.seed)


@torch.no_grad()
def run_once(denoiser: Denoiser, sigma: float, seed: int, rows: int = 2) -> Tensor:
    """The prediction for noise at one noise level, under one prompt: for checks."""
    pixels = np.zeros((1, denoiser.config.height, denoiser.config.width, 3), np.uint8)
    shape = denoiser.encode_images(pixels).shape[1:]
    noise = torch.randn((rows, *shape), generator=torch_generator(seed, "check"))
    noise = noise.to(denoiser.device)
    conditioning = denoiser.encode_prompts(["a picture"] * rows)
    return noised_batch(denoiser, noise, noise, sigma, conditioning)


@contextmanager
def ablated_sampling(
    denoiser: Denoiser, condition: Condition, support: Support, known: Sequence[float]
) -> Iterator[None]:
    """Within this context the denoiser samples with the condition's components ablated.

    Args:
        denoiser: the model.
        condition: what is ablated; the baseline ablates nothing.
        support: calibrated means and directions, for modes that need them.
        known: the timestep of each calibrated noise level (see `calibrated_timesteps`).
    """
    tracking: Any = nullcontext()
    means = support.means
    if means is not None and condition.needs("means", "spreads"):

        def nearest(timestep: float) -> None:
            means.sigma_index = int(np.argmin(np.abs(np.array(known) - timestep)))

        tracking = timesteps_told(denoiser.model, nearest)
    with tracking, ablated(denoiser.model, condition.ablations, support=support):
        yield


def calibrated_timesteps(denoiser: Denoiser, run_levels: Callable[[], None]) -> list[float]:
    """The timestep, in the model's own units, that it is given at each noise level.

    Args:
        denoiser: the model.
        run_levels: runs it once at each noise level, in their order.
    """
    seen: list[float] = []
    with timesteps_told(denoiser.model, seen.append):
        run_levels()
    return seen


@contextmanager
def timesteps_told(model: nn.Module, tell: Callable[[float], None]) -> Iterator[None]:
    """Tell the timestep, in the model's own units, before each of its forwards."""

    def before(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        bound = bound_arguments(module, args, kwargs)
        name = next(name for name in bound if name.startswith("timestep"))
        tell(float(bound[name].flatten()[0]))

    handle = model.register_forward_pre_hook(before, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
