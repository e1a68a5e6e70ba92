"""Adapters saved and loaded through diffusers, and in PEFT's format where it has no loader."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from tiny_adapters import SIZE, adapt, saved
from tiny_parts import drawn
from tiny_pipelines import FAMILIES

from ablate2tune.errors import UserError
from ablate2tune.models import Denoiser, load_denoiser, read_note
from ablate2tune.models.model_config import ModelConfig

SOME = {"Flux", "StableDiffusion3", "StableDiffusionXL", "PixArtAlpha", "HunyuanDiT"}
"""Loaders of diffusers for a transformer and a UNet, and families without one."""


@pytest.fixture(params=[f for f in FAMILIES if str(f) in SOME], ids=str)
def denoiser(request, tmp_path: Path) -> Denoiser:
    return saved(request.param, tmp_path / "model")


@torch.no_grad()
def predicted(denoiser: Denoiser) -> torch.Tensor:
    picture = torch.zeros(1, SIZE, SIZE, 3, dtype=torch.uint8).numpy()
    latents = denoiser.encode_images(picture)
    return denoiser.predict(latents, torch.tensor([0.5]), denoiser.encode_prompts(["a red ball"]))


def test_an_adapter_goes_to_disk_and_back(denoiser: Denoiser, tmp_path: Path) -> None:
    folder, base = tmp_path / "adapter", predicted(denoiser)
    note = adapt(denoiser)
    adapted = predicted(denoiser)
    assert (adapted - base).abs().max() > 1e-3
    path = denoiser.save_adapter(folder, note)
    first = path.read_bytes()
    assert denoiser.save_adapter(folder, note) == path
    assert path.read_bytes() == first
    denoiser.remove_adapter()
    assert torch.equal(predicted(denoiser), base)

    assert denoiser.adapter_misfit(folder, note.base) is None
    denoiser.load_adapter(folder)
    torch.testing.assert_close(predicted(denoiser), adapted)
    denoiser.remove_adapter()
    assert torch.equal(predicted(denoiser), base)
    assert read_note(path) == note


def test_the_file_names_its_modules(tiny_flux: Denoiser, tmp_path: Path) -> None:
    note = adapt(tiny_flux)
    path = tiny_flux.save_adapter(tmp_path / "adapter", note)
    assert [p.name for p in path.parent.iterdir()] == ["pytorch_lora_weights.safetensors"]
    with safe_open(path, framework="pt") as file:
        keys = {f"transformer.{m}.lora_{side}.weight" for m in note.targets for side in "AB"}
        assert set(file.keys()) == keys
        metadata = json.loads(file.metadata()["lora_adapter_metadata"])
    assert metadata == {
        "transformer.r": 2,
        "transformer.lora_alpha": 2,
        "transformer.target_modules": note.targets,
    }


def test_pefts_format_is_pefts(tmp_path: Path) -> None:
    """PEFT alone loads the folder into the stock transformer, with the same prediction."""
    from diffusers import PixArtAlphaPipeline
    from peft import PeftModel
    from tiny_diffusion import pixart

    torch.manual_seed(0)
    drawn((pipe := pixart(PixArtAlphaPipeline)).transformer)
    pipe.save_pretrained(tmp_path / "model")
    config = ModelConfig(path=str(tmp_path / "model"), device="cpu", height=SIZE, width=SIZE)
    denoiser = load_denoiser(config)
    path = denoiser.save_adapter(tmp_path / "adapter", adapt(denoiser))
    assert sorted(p.name for p in path.parent.glob("adapter*")) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    adapted = predicted(denoiser)
    stock = load_denoiser(config)
    stock.pipe.transformer = PeftModel.from_pretrained(
        stock.model, str(path.parent)
    ).base_model.model
    torch.testing.assert_close(predicted(stock), adapted)


def test_what_does_not_belong_is_said_in_one_line(tiny_flux: Denoiser, tmp_path: Path) -> None:
    folder, note = tmp_path / "adapter", adapt(tiny_flux)
    path = tiny_flux.save_adapter(folder, note)
    tiny_flux.remove_adapter()
    other = tiny_flux.adapter_misfit(folder, "content c")
    assert other == "it was trained on another base model (content b, and this is content c)"

    # diffusers would drop what a model without the last block lacks, and say nothing.
    blocks = tiny_flux.model.single_transformer_blocks
    kept, tiny_flux.model.single_transformer_blocks = blocks, blocks[:1]
    with pytest.raises(UserError, match="it adapts modules that this model lacks: 3, single_"):
        tiny_flux.load_adapter(folder)
    tiny_flux.model.single_transformer_blocks = kept

    name = note.targets[0]
    parent, _, child = name.rpartition(".")
    layer = tiny_flux.model.get_submodule(name)
    setattr(tiny_flux.model.get_submodule(parent), child, torch.nn.Linear(48, layer.out_features))
    assert tiny_flux.adapter_misfit(folder) == (
        f"{name} takes {layer.in_features} channels in the adapter, 48 in this model"
    )
    path.write_bytes(b"torn")
    with pytest.raises(UserError, match="damaged adapter"):
        tiny_flux.load_adapter(folder)
    with pytest.raises(UserError, match="no such adapter"):
        tiny_flux.load_adapter(tmp_path)


def test_another_tools_file_has_no_note(tiny_flux: Denoiser, tmp_path: Path) -> None:
    note = adapt(tiny_flux)
    path = tiny_flux.save_adapter(tmp_path, note)
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    from safetensors.torch import save_file

    save_file(tensors, path)
    assert read_note(path) is None
    assert tiny_flux.adapter_misfit(tmp_path, "content c") is None
