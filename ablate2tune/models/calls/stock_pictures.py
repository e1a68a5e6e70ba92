"""Pictures from the stock call, and as bytes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ablate2tune.errors import UserError
from ablate2tune.models.model_config import ModelConfig


def drawn(
    pipe: Any, prompts: Sequence[str], seeds: Sequence[int], arguments: Mapping[str, Any]
) -> np.ndarray:
    """Pictures in [0, 1], (batch, height, width, 3), each of a generator of its own.

    Args:
        pipe: a diffusers pipeline.
        prompts: one for each picture.
        seeds: of the generators.
        arguments: further ones of the call.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return pipe(prompt=list(prompts), generator=generators, output_type="np", **arguments).images


def as_bytes(images: np.ndarray, config: ModelConfig) -> np.ndarray:
    """The same as uint8.

    Args:
        images: in [0, 1].
        config: of the model that drew them.

    Raises:
        UserError: one is not finite.
    """
    if not np.isfinite(images).all():
        raise UserError(
            "the sampled pictures are not finite",
            where=f"model.dtype = {config.dtype}",
            mend=config.mend_not_finite,
        )
    return (images * 255).round().astype(np.uint8)
