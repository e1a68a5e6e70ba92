"""Pipelines as the stages see them: encode prompts and images, predict, sample.

`diffusers` loads, encodes, predicts and samples; an adapter per model family states only what
differs between families (see docs/models.md).
"""

from ablate2tune.models.conditioning import Conditioning
from ablate2tune.models.denoiser import Denoiser, Progress
from ablate2tune.models.families import FAMILIES
from ablate2tune.models.flux import FluxDenoiser
from ablate2tune.models.model_loading import (
    check_model_path,
    family_of,
    load_denoiser,
    resolve_device,
)

__all__ = [
    "FAMILIES",
    "Conditioning",
    "Denoiser",
    "FluxDenoiser",
    "Progress",
    "check_model_path",
    "family_of",
    "load_denoiser",
    "resolve_device",
]
