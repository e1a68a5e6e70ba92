"""Sampling with components ablated: means are those of the nearest calibrated noise level."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
from torch import nn

from ablate2tune.ablation import Means, Support, ablated
from ablate2tune.ablation.streams import bound_arguments
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.models import Denoiser


@contextmanager
def ablated_sampling(
    denoiser: Denoiser, condition: Condition, means: Means, known: Sequence[float]
) -> Iterator[None]:
    """Within this context the denoiser samples with the condition's components ablated.

    Args:
        denoiser: the model.
        condition: what is ablated; the baseline ablates nothing.
        means: calibrated, for modes that need them.
        known: the timestep of each calibrated noise level (see `calibrated_timesteps`).
    """
    tracking: Any = nullcontext()
    if condition.needs("means"):

        def nearest(timestep: float) -> None:
            means.sigma_index = int(np.argmin(np.abs(np.array(known) - timestep)))

        tracking = timesteps_told(denoiser.model, nearest)
    with tracking, ablated(denoiser.model, condition.ablations, support=Support(means)):
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
