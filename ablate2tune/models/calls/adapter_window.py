"""An adapter that acts at high noise alone: what it was not taught to do, the base does as before.

Who stands where is decided in the first steps of a sampling, and shapes, colours and textures in
the later ones; an adapter that was taught the former disturbs the latter. So it can be given a
lowest noise level, `train.acts_above`, which its file holds: below it the model is the base itself.

Other tools do the same: in diffusers a `callback_on_step_end` that calls `pipe.disable_lora()`, in
ComfyUI a LoRA hook with a keyframe.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from ablate2tune.models.adapter_files import switched_off, switching
from ablate2tune.models.conditioning import Conditioning

Predict = Callable[[Tensor, Tensor, Conditioning, float | None], Tensor]


def predicted_above(
    lowest: float,
    model: nn.Module,
    predict: Predict,
    latents: Tensor,
    sigma: Tensor,
    conditioning: Conditioning,
    guidance: float | None,
) -> Tensor:
    """`predict` of all rows, without the adapter where their noise level is below `lowest`."""
    if lowest <= 0 or not _carries(model) or not (low := sigma < lowest).any():
        return predict(latents, sigma, conditioning, guidance)
    if low.all():
        with switched_off(model):
            return predict(latents, sigma, conditioning, guidance)
    parts, order = [], [rows.nonzero().flatten() for rows in (~low, low)]
    for rows in order:
        part = latents[rows], sigma[rows], conditioning[rows], guidance
        parts.append(predicted_above(lowest, model, predict, *part))
    return torch.cat(parts)[torch.cat(order).argsort()]


@contextmanager
def sampled_above(scheduler: Any, model: nn.Module, lowest: Tensor | None) -> Iterator[None]:
    """A pipeline's call in here takes its later steps without the adapter.

    Args:
        scheduler: the pipeline's own.
        model: carries the adapter, which is on afterwards.
        lowest: steps at lower timesteps than this scalar are without it; None: no step is.
    """
    if lowest is None:
        yield
        return
    begin: Callable[..., Any] = scheduler.set_timesteps
    own: Callable[..., Any] = scheduler.step

    with switching(model) as switch:

        @wraps(begin)  # pipelines look at its signature
        def set_timesteps(*args: Any, **kwargs: Any) -> None:
            begin(*args, **kwargs)
            switch(bool(scheduler.timesteps.max() >= lowest))

        @wraps(own)
        def step(output: Any, timestep: Any, *args: Any, **kwargs: Any) -> Any:
            stepped = own(output, timestep, *args, **kwargs)
            times = scheduler.timesteps.to(lowest.device)
            left = times[times < torch.as_tensor(timestep, device=lowest.device)]
            switch(bool((left >= lowest).any()))
            return stepped

        scheduler.set_timesteps, scheduler.step = set_timesteps, step
        try:
            yield
        finally:
            del scheduler.set_timesteps, scheduler.step


def _carries(model: nn.Module) -> bool:
    return any(isinstance(module, BaseTunerLayer) for module in model.modules())
