"""Convolutions are adapted where they are named, and load in stock diffusers."""

from pathlib import Path

import diffusers
import numpy as np
import torch
from tiny_flow import sana
from tiny_parts import TOKENS

from ablate2tune.components import discover
from ablate2tune.models import Denoiser, load_denoiser
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.train import train
from ablate2tune.train.targets import choose_targets

CONVOLUTION, LINEAR = "transformer_blocks.0.ff.conv_inverted", "transformer_blocks.1.attn1.to_q"


@torch.no_grad()
def predicted(of: Denoiser) -> torch.Tensor:
    latents = of.encode_images(np.zeros((1, 32, 32, 3), np.uint8))
    return of.predict(latents, torch.tensor([0.5]), of.encode_prompts(["a red ball"]))


def test_a_convolution_that_is_listed(records, config, tmp_path: Path) -> None:
    torch.manual_seed(0)
    sana().save_pretrained(tmp_path / "model")
    denoiser = load_denoiser(
        ModelConfig(
            path=str(tmp_path / "model"), device="cpu", height=32, width=32,
            max_sequence_length=TOKENS,
        )
    )  # fmt: skip
    asked = config.model_copy(update={"targets": "list", "modules": [CONVOLUTION, LINEAR]})
    names = choose_targets(None, asked, discover(denoiser.model), 0)
    assert names == [CONVOLUTION, LINEAR]

    quick = config.model_copy(update={"steps": 2, "validation_images": 1, "sample_every": 9})
    before = predicted(denoiser)
    train(denoiser, records, names, quick, 3, tmp_path / "run", sample_steps=1)
    trained = predicted(denoiser)
    assert (trained - before).abs().max() > 1e-4
    stock = diffusers.SanaPipeline.from_pretrained(tmp_path / "model")
    stock.load_lora_weights(tmp_path / "run" / "adapter")
    loaded = predicted(type(denoiser)(stock, denoiser.config))
    torch.testing.assert_close(loaded, trained, rtol=0, atol=1e-5)
