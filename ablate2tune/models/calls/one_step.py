"""One prediction from the stock pipeline's own call.

How a family calls its denoiser (masks, position ids, size embeddings, the timestep's unit, the
prediction's sign, learned variances) is written in its pipeline's `__call__` and nowhere else. So
the prediction at a noise level is taken from there: the pipeline is run for one step with a
scheduler that hands it the noise level and keeps what it would have stepped along.
"""

import copy
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class OneStepScheduler:
    """A scheduler of one step, which keeps the prediction and changes nothing."""

    order = 1
    init_noise_sigma = 1.0

    def __init__(self, scheduler: Any, timestep: Tensor):
        """In the place of `scheduler`, whose config the pipeline may read.

        Args:
            scheduler: the pipeline's own.
            timestep: the one timestep, a scalar, or one for each row, (batch,): pipelines expand
                it to the batch.
        """
        self.config = scheduler.config
        self.timesteps = timestep[None]
        self.prediction: Tensor | None = None

    def set_timesteps(
        self, num_inference_steps=None, device=None, timesteps=None, sigmas=None, mu=None
    ) -> None:
        """The timestep stays as it is."""
        self.timesteps = self.timesteps.to(device)

    def set_begin_index(self, begin_index: int = 0) -> None:
        """There is but one."""

    def scale_model_input(self, sample: Tensor, timestep: Any = None) -> Tensor:
        """The latents come at the scale at which the denoiser takes them."""
        return sample

    def step(
        self, model_output: Tensor, timestep: Any, sample: Tensor, return_dict: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Keep the prediction; the latents stay.

        Returned twice, since PixArt-alpha takes the estimate of the clean latents where it is
        asked for one step.
        """
        self.prediction = model_output
        return sample, sample


def predict_once(pipe: Any, timestep: Tensor, arguments: dict[str, Any]) -> Tensor:
    """What the pipeline's call would step along at this timestep, the shape of the latents.

    Gradients flow wherever the caller has them enabled.

    Args:
        pipe: a diffusers pipeline.
        timestep: in the scheduler's unit, a scalar, or (batch,).
        arguments: of the call; latents, embeddings, height and width among them.
    """
    running = copy.copy(pipe)
    scheduler = OneStepScheduler(pipe.scheduler, timestep)
    vars(running)["scheduler"] = scheduler  # past __setattr__, which rewrites the shared config
    call = inspect.unwrap(type(pipe).__call__)  # without torch.no_grad
    call(running, **arguments, num_inference_steps=1, output_type="latent", return_dict=False)
    if scheduler.prediction is None:
        raise AssertionError(f"{type(pipe).__name__} did not step its scheduler")
    return scheduler.prediction


@contextmanager
def told_timesteps(model: nn.Module, timestep: Tensor) -> Iterator[None]:
    """Within it a denoiser hears of these timesteps, (batch,), whichever one it is called with.

    For calls that make a single number of their timestep.
    """
    signature = inspect.signature(model.forward)

    def replace(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        call = signature.bind(*given, **named)
        call.arguments["timestep"] = timestep.to(call.arguments["timestep"])
        return call.args, call.kwargs

    handle = model.register_forward_pre_hook(replace, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def call_defaults(pipe: Any) -> dict[str, Any]:
    """The arguments of the pipeline's call with their defaults."""
    parameters = inspect.signature(inspect.unwrap(type(pipe).__call__)).parameters
    return {name: p.default for name, p in parameters.items() if p.default is not p.empty}


@torch.no_grad()
def encode_as_called(pipe: Any, prompts: list[str], **given: Any) -> tuple[Any, ...]:
    """The pipeline's `encode_prompt` with what its call would pass, without guidance.

    Args:
        pipe: a diffusers pipeline.
        prompts: a list, since some pipelines treat a string in another way.
        given: arguments that are not the call's defaults; those unknown to the pipeline are left
            out.
    """
    known = inspect.signature(inspect.unwrap(type(pipe).encode_prompt)).parameters
    defaults = call_defaults(pipe)
    arguments = {
        name: defaults[name]
        for name in known
        if name in defaults and not name.startswith(("prompt", "negative", "pooled"))
    }
    arguments |= {
        "prompt": list(prompts),
        "device": pipe._execution_device,
        "prompt_2": None,
        "prompt_3": None,
        "num_images_per_prompt": 1,
        "do_classifier_free_guidance": False,
        **given,
    }
    encoded = pipe.encode_prompt(**{k: v for k, v in arguments.items() if k in known})
    return encoded if isinstance(encoded, tuple) else (encoded,)


def once_each(
    predict: Callable[..., Tensor], rows: Sequence[Any], same: Sequence[int] | None
) -> Tensor:
    """Predict rows of which some have the same input; these are computed once.

    Args:
        predict: takes them, in the order of `rows`.
        rows: tensors or conditionings, (batch, ...) each.
        same: for each row, the first with its input; None: no two have the same.
    """
    if same is None:
        return predict(*rows)
    first, of = torch.tensor(same).unique(return_inverse=True)
    return predict(*(each[first] for each in rows))[of]
