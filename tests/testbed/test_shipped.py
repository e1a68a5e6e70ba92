"""The committed testbed: stock diffusers loads it, and its text encoders keep word order."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline

from ablate2tune.testbed.text import probe_text

CHECKPOINTS = Path(__file__).parents[2] / "checkpoints"


@pytest.fixture(scope="module")
def pipe() -> FluxPipeline:
    pipe = FluxPipeline.from_pretrained(CHECKPOINTS / "testbed")
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_size_and_format() -> None:
    files = [path for path in CHECKPOINTS.rglob("*") if path.is_file()]
    assert not [path for path in files if path.suffix in {".bin", ".pt", ".ckpt", ".pkl"}]
    weights = [path for path in files if path.suffix == ".safetensors"]
    assert sum(path.stat().st_size for path in weights) <= 30e6


def test_text_encoders_tell_who_stands_where(pipe: FluxPipeline) -> None:
    accuracy = probe_text(pipe, seed=123, captions=2000)
    assert min(accuracy) >= 0.99, accuracy


def test_it_draws_the_colours_that_it_is_told(pipe: FluxPipeline) -> None:
    """Red against blue balls in eight pictures each, by the colour of the saturated pixels."""

    def mean_red_minus_blue(prompt: str) -> float:
        generators = [torch.Generator().manual_seed(seed) for seed in range(8)]
        images = pipe(
            [prompt] * 8,
            height=96,
            width=96,
            num_inference_steps=8,
            max_sequence_length=12,
            generator=generators,
            output_type="np",
        ).images
        vivid = (images.max(-1) - images.min(-1)) > 0.3
        return float(np.mean((images[..., 0] - images[..., 2])[vivid]))

    red = mean_red_minus_blue("a red ball and an orange ball")
    blue = mean_red_minus_blue("a blue ball and a purple ball")
    assert red > 0.2 > -0.2 > blue
