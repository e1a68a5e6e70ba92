"""Another family than FLUX is trained through the same interface, here a tiny random SD3."""

from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusion3Pipeline
from safetensors.torch import load_file
from tiny_flow import stable_diffusion_3
from tiny_parts import drawn

from ablate2tune.models import Denoiser, load_denoiser
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.scenes.dataset.records import SceneRecord
from ablate2tune.train import train
from ablate2tune.train.train_config import TrainConfig

TARGETS = ["transformer_blocks.0.attn.to_q", "transformer_blocks.1.ff.net.2"]
WEIGHTS = "adapter/pytorch_lora_weights.safetensors"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    pipe = stable_diffusion_3()
    drawn(pipe.transformer)
    path = tmp_path_factory.mktemp("tiny-sd3")
    pipe.save_pretrained(path)
    return path


def load(folder: Path) -> Denoiser:
    return load_denoiser(
        ModelConfig(path=str(folder), device="cpu", height=32, width=32, max_sequence_length=16)
    )


class KilledError(Exception):
    pass


def test_trained_loaded_by_stock_diffusers_and_resumed_to_the_same_weights(
    folder: Path, records: list[SceneRecord], config: TrainConfig, tmp_path: Path
):
    trained = load(folder)
    summary = train(trained, records, TARGETS, config, 3, tmp_path / "whole", sample_steps=2)
    assert summary.injected == TARGETS

    stock = StableDiffusion3Pipeline.from_pretrained(folder)
    stock.load_lora_weights(tmp_path / "whole" / "adapter")
    told = trained.encode_prompts(["a red ball left of a blue cube", "a green cone"])
    torch.manual_seed(0)
    latents = torch.randn(2, 4, 8, 8)
    sigma = torch.tensor([0.3, 0.9])

    def predict(denoiser: Denoiser) -> torch.Tensor:
        with torch.no_grad():
            return denoiser.predict(latents, sigma, told)

    theirs = predict(type(trained)(stock, trained.config))
    torch.testing.assert_close(predict(trained), theirs, rtol=0, atol=1e-5)
    assert (theirs - predict(load(folder))).abs().max() > 1e-4

    def stop(done: int, total: int, note: str) -> None:
        if done == 3:
            raise KilledError

    again = tmp_path / "again"
    with pytest.raises(KilledError):
        train(load(folder), records, TARGETS, config, 3, again, sample_steps=2, on_progress=stop)
    resumed = train(load(folder), records, TARGETS, config, 3, again, sample_steps=2)
    assert resumed.resumed_from == 2
    assert (again / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
    assert all(tensor.isfinite().all() for tensor in load_file(again / WEIGHTS).values())
