"""SD3 through train and compare, from the command line, against the stock pipeline."""

import dataclasses
import json

import numpy as np
import pytest
import torch
import yaml
from diffusers import FlowMatchEulerDiscreteScheduler, StableDiffusion3Pipeline
from PIL import Image
from tiny_flow import stable_diffusion_3
from tiny_parts import TOKENS, drawn

from ablate2tune.cli import main
from ablate2tune.models import load_denoiser, read_note
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.scenes.dataset.records import load_images
from ablate2tune.seeding import torch_generator

SIZE, SEED = 32, 4


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> ModelConfig:
    torch.manual_seed(0)
    drawn((pipe := stable_diffusion_3()).transformer)
    pipe.scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    folder = tmp_path_factory.mktemp("sd3")
    pipe.save_pretrained(folder)
    return ModelConfig(
        path=str(folder), device="cpu", height=SIZE, width=SIZE, max_sequence_length=TOKENS
    )


@pytest.fixture(scope="module")
def trained(model: ModelConfig, make_records, tmp_path_factory):
    """The records and the run's folder, after train and compare."""
    records, folder = make_records(3, SIZE), tmp_path_factory.mktemp("job")
    rows = [dataclasses.asdict(record) | {"folder": ""} for record in records]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (records[0].folder / "metadata.jsonl").write_text(text, encoding="utf-8")
    sampled = {"steps": 2, "prompts": 6, "plain_prompts": 6, "judge": None, "wandb": "off"}
    recipe = {
        "name": "sd3",
        "seed": SEED,
        "runs": str(folder / "runs"),
        "model": model.model_dump(exclude={"dtype"}),
        "scenes": {"folder": str(records[0].folder)},
        "train": {
            "targets": "list",
            "modules": ["transformer_blocks.{0,1}.attn.to_*"],
            "rank": 2,
            "steps": 2,
            "warmup": 0,
            "batch_size": 2,
            "learning_rate": 0.1,
            "validation_images": 2,
            "sample_every": 2,
            "validate_every": 2,
        },
        "compare": sampled,
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    for command in ("train", "compare"):
        with pytest.raises(SystemExit) as ended:
            main([command, str(path)])
        assert not ended.value.code
    return records, folder / "runs/sd3"


def test_levels_are_shifted_as_the_scheduler_shifts_them(model: ModelConfig) -> None:
    denoiser = load_denoiser(model)
    s = denoiser.sigma_shift
    assert s == 3.0
    denoiser.pipe.scheduler.set_timesteps(sigmas=[0.5])
    assert denoiser.pipe.scheduler.sigmas[0].item() == pytest.approx(s * 0.5 / (1 + (s - 1) * 0.5))


@torch.no_grad()
def test_the_validation_loss_is_the_stock_pipelines(model: ModelConfig, trained) -> None:
    """At step 0 and one level: the stock transformer, called by hand."""
    records, folder = trained
    first = json.loads((folder / "train/log.jsonl").read_text().splitlines()[0])
    pipe = StableDiffusion3Pipeline.from_pretrained(model.path)
    sigma, losses = 0.4375, []
    held = records[-2:]
    for place, record in enumerate(held):
        pixels = torch.from_numpy(load_images([record])).permute(0, 3, 1, 2).float() / 127.5 - 1
        config = pipe.vae.config
        latents = pipe.vae.encode(pixels).latent_dist.mode()
        latents = (latents - config.shift_factor) * config.scaling_factor
        noise = torch.randn(
            latents.shape[1:], generator=torch_generator(SEED, "validation", place)
        )[None]
        embeds, _, pooled, _ = pipe.encode_prompt(
            record.text, None, None, do_classifier_free_guidance=False, max_sequence_length=TOKENS
        )
        velocity = pipe.transformer(
            hidden_states=(1 - sigma) * latents + sigma * noise,
            timestep=torch.tensor([1000 * sigma]),
            encoder_hidden_states=embeds,
            pooled_projections=pooled,
        ).sample
        losses.append((velocity - (noise - latents)).square().mean().item())
    assert first["validation"]["by_sigma"][str(sigma)] == pytest.approx(np.mean(losses), rel=1e-4)


@torch.no_grad()
def test_stock_diffusers_loads_the_adapter(model: ModelConfig, trained) -> None:
    _, folder = trained
    pipe = StableDiffusion3Pipeline.from_pretrained(model.path)
    denoiser = load_denoiser(model)
    latents = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(1))
    told = denoiser.encode_prompts(["a red ball"])
    plain = denoiser.predict(latents, torch.tensor([0.6]), told)
    denoiser.load_adapter(folder / "train/adapter")
    adapted = denoiser.predict(latents, torch.tensor([0.6]), told)
    assert (adapted - plain).abs().max() > 1e-3
    pipe.load_lora_weights(str(folder / "train/adapter"))
    stock = pipe.transformer(
        hidden_states=latents,
        timestep=torch.tensor([600.0]),
        encoder_hidden_states=told.prompt_embeds,
        pooled_projections=told.pooled,
    ).sample
    torch.testing.assert_close(adapted, stock)
    note = read_note(folder / "train/adapter/pytorch_lora_weights.safetensors")
    assert note is not None
    assert (note.rank, note.seed, note.height) == (2, SEED, SIZE)
    # q, k, v and out of both blocks, and the text's out of the first: the last drops its text.
    assert len(note.targets) == 9


def test_both_arms_have_their_pictures(trained) -> None:
    _, folder = trained

    def pictures(arm: str) -> list[np.ndarray]:
        paths = sorted((folder / "compare/images" / arm).glob("*.png"))
        return [np.asarray(Image.open(path)) for path in paths]

    before, after = pictures("before"), pictures("after")
    assert len(before) == len(after) == 12
    assert all(picture.shape == (SIZE, SIZE, 3) for picture in before)
    assert any((a != b).any() for a, b in zip(before, after, strict=True))
