"""Pipelines as the stages see them: encode prompts and images, predict, sample.

`diffusers` loads, encodes, predicts and samples; an adapter per model family states only what
differs between families (see docs/pipelines.md).
"""

from ablate2tune.pipelines.conditioning import Conditioning
from ablate2tune.pipelines.denoiser import Denoiser, Progress
from ablate2tune.pipelines.families import FAMILIES
from ablate2tune.pipelines.flux import FluxDenoiser
from ablate2tune.pipelines.loading import (
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
