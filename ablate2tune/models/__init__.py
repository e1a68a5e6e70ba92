"""Pipelines as the stages see them: encode prompts and images, predict, sample.

`diffusers` loads, encodes, predicts and samples; a class per model family states only what differs
between families (see docs/models.md).
"""

from ablate2tune.models.adapter_files import WEIGHTS, AdapterNote, read_note
from ablate2tune.models.conditioning import Conditioning
from ablate2tune.models.denoiser import Denoiser
from ablate2tune.models.families.flux import FluxDenoiser
from ablate2tune.models.family_registry import FAMILIES, serves
from ablate2tune.models.fit_check import check_fit
from ablate2tune.models.model_loading import (
    check_model,
    check_model_path,
    check_trainable,
    family_of,
    load_denoiser,
    resolve_device,
)

__all__ = [
    "FAMILIES",
    "WEIGHTS",
    "AdapterNote",
    "Conditioning",
    "Denoiser",
    "FluxDenoiser",
    "check_fit",
    "check_model",
    "check_model_path",
    "check_trainable",
    "family_of",
    "load_denoiser",
    "read_note",
    "resolve_device",
    "serves",
]
