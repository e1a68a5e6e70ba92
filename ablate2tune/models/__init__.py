"""Models as the stages see them: pipelines (encode, predict, sample) and language models.

`diffusers` loads, encodes, predicts and samples; a class per model family states only what differs
between families (see docs/models.md).
"""

from ablate2tune.models.adapter_files import WEIGHTS, AdapterNote, read_note
from ablate2tune.models.conditioning import Conditioning
from ablate2tune.models.denoiser import Denoiser
from ablate2tune.models.families.flux import FluxDenoiser
from ablate2tune.models.family_registry import FAMILIES, serves
from ablate2tune.models.fit_check import check_fit
from ablate2tune.models.language.language_loading import (
    check_language_model,
    is_language_model,
    load_language_model,
)
from ablate2tune.models.language.language_model import LanguageModel
from ablate2tune.models.model_loading import (
    check_model,
    check_model_path,
    check_trainable,
    family_of,
    load_denoiser,
    resolve_device,
    shell_of,
)
from ablate2tune.models.studied import Studied

__all__ = [
    "FAMILIES",
    "WEIGHTS",
    "AdapterNote",
    "Conditioning",
    "Denoiser",
    "FluxDenoiser",
    "LanguageModel",
    "Studied",
    "check_fit",
    "check_language_model",
    "check_model",
    "check_model_path",
    "check_trainable",
    "family_of",
    "is_language_model",
    "load_denoiser",
    "load_language_model",
    "read_note",
    "resolve_device",
    "serves",
    "shell_of",
]
