"""Prompts that are encoded before their text encoders leave: the same pictures, bit for bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_pipelines import FAMILIES, Family

from ablate2tune.models import Denoiser, load_denoiser
from ablate2tune.models.model_config import ModelConfig

PROMPTS = ["a red ball left of a blue cube", "a white cone", "a green cube right of a red ball"]


@pytest.fixture(scope="module", params=FAMILIES, ids=str)
def config(request, tmp_path_factory) -> ModelConfig:
    family: Family = request.param
    torch.manual_seed(0)
    folder: Path = tmp_path_factory.mktemp(str(family))
    family.build().save_pretrained(folder)
    size: dict[str, Any] = {"height": 32, "width": 32, "max_sequence_length": family.tokens}
    # Guided where the call has that: then it encodes a negative prompt, too.
    return ModelConfig(path=str(folder), device="cpu", guidance_scale=3.0, **size)


def is_away(denoiser: Denoiser, name: str) -> bool:
    return any(p.isnan().all() for p in denoiser.parts[name].parameters())


def test_the_same_pictures_without_the_text_encoders(config: ModelConfig) -> None:
    usual = load_denoiser(config).sample(PROMPTS, [5, 6, 7], 2)
    lean = load_denoiser(config, encoders_first=True)
    lean.keep_prompts(PROMPTS)
    lean.weights.drop(lean.encoders)
    lean.weights.fetch([lean.part])
    text = [name for name in lean.encoders if name.startswith("text_encoder")]
    assert text and all(is_away(lean, name) for name in text)
    kept = lean.sample(PROMPTS, [5, 6, 7], 2)
    assert np.array_equal(kept, usual)
    assert all(is_away(lean, name) for name in text), "nobody needed them"
    assert np.array_equal(lean.sample(PROMPTS, [5, 6, 7], 2), usual), "and so again"
    # What was not kept is encoded, by encoders that are read for it.
    others = ["a white cone above a red cube"]
    fresh = lean.sample(others, [5], 2)
    assert not any(is_away(lean, name) for name in text)
    assert np.array_equal(fresh, load_denoiser(config).sample(others, [5], 2))
    assert not np.array_equal(fresh[0], usual[0])


def test_prompts_are_kept_batch_by_batch(config: ModelConfig) -> None:
    """As they are drawn: some pipelines pad to the longest of a batch."""
    if "Flux" not in str(config.path):
        pytest.skip("one family suffices")
    lean = load_denoiser(config, encoders_first=True)
    lean.keep_prompts(PROMPTS, batch_size=2)
    lean.weights.drop(lean.encoders)
    lean.weights.fetch([lean.part])
    usual = load_denoiser(config).sample(PROMPTS, [5, 6, 7], 1, batch_size=2)
    assert np.array_equal(lean.sample(PROMPTS, [5, 6, 7], 1, batch_size=2), usual)
    assert is_away(lean, "text_encoder")
