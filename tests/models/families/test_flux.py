"""The FLUX adapter against the stock pipeline."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline

from ablate2tune.errors import UserError
from ablate2tune.models import Denoiser, FluxDenoiser, check_model_path, load_denoiser
from ablate2tune.models.model_config import ModelConfig


def test_sample_equals_the_stock_call(tiny_flux: FluxDenoiser, tiny_flux_folder: Path) -> None:
    ours = tiny_flux.sample(["a red ball", "a blue cube"], [5, 6], steps=2)
    stock = FluxPipeline.from_pretrained(tiny_flux_folder)
    image = stock(
        "a blue cube",
        height=32,
        width=32,
        num_inference_steps=2,
        max_sequence_length=16,
        generator=torch.Generator().manual_seed(6),
        output_type="np",
    ).images[0]
    assert np.abs(ours[1].astype(int) - (image * 255).round().astype(int)).max() <= 1


def test_velocity_is_what_the_sampler_uses(tiny_flux: FluxDenoiser) -> None:
    """One Euler step by hand from sigma 1 to 0 equals the pipeline's one-step latents."""
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    packed = tiny_flux.pipe._pack_latents(noise, 1, 4, 8, 8)
    conditioning = tiny_flux.encode_prompts(["a red ball"])
    velocity = tiny_flux.predict(packed, torch.ones(1), conditioning)
    stock = tiny_flux.pipe(
        "a red ball",
        height=32,
        width=32,
        num_inference_steps=1,
        max_sequence_length=16,
        latents=packed,
        output_type="latent",
    ).images
    assert torch.allclose(packed - velocity, stock, atol=1e-5)


def test_encode_images_is_normalised_and_packed(tiny_flux: FluxDenoiser) -> None:
    vae = tiny_flux.pipe.vae
    vae.register_to_config(shift_factor=0.25, scaling_factor=2.0)
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    packed = tiny_flux.encode_images(image)
    pixels = torch.from_numpy(image).permute(0, 3, 1, 2).float() / 127.5 - 1
    latents = (vae.encode(pixels).latent_dist.mean - 0.25) * 2.0
    assert packed.shape == (1, 16, 16)
    top_left = latents[0, :, :2, :2].flatten()
    assert torch.allclose(packed[0, 0], top_left, atol=1e-5)


def test_encode_prompts_keeps_order_and_repeats(tiny_flux: FluxDenoiser) -> None:
    rows = tiny_flux.encode_prompts(["a red ball", "a blue cube", "a red ball"])
    alone = tiny_flux.encode_prompts(["a blue cube"])
    assert torch.equal(rows.prompt_embeds[0], rows.prompt_embeds[2])
    assert torch.allclose(rows.prompt_embeds[1], alone.prompt_embeds[0], atol=1e-6)


def test_sigma_shift_is_the_schedulers(tiny_flux: FluxDenoiser) -> None:
    scheduler = tiny_flux.pipe.scheduler
    config = scheduler.config
    tokens = 16
    slope = (config.max_shift - config.base_shift) / (
        config.max_image_seq_len - config.base_image_seq_len
    )
    mu = config.base_shift + slope * (tokens - config.base_image_seq_len)
    scheduler.set_timesteps(sigmas=[0.5], mu=mu)
    s = tiny_flux.sigma_shift
    assert scheduler.sigmas[0].item() == pytest.approx(s * 0.5 / (1 + (s - 1) * 0.5))


def test_bad_model_paths(tmp_path: Path, tiny_flux_folder: Path) -> None:
    with pytest.raises(UserError, match="no such model directory"):
        check_model_path(str(tmp_path / "nothing"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no model_index\.json"):
        check_model_path(str(tmp_path / "empty"))
    broken = tmp_path / "broken"
    shutil.copytree(tiny_flux_folder, broken)
    weights = next((broken / "transformer").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(UserError, match="damaged weight file") as caught:
        check_model_path(str(broken))
    assert weights.name in str(caught.value)


def test_image_size_must_fit(tiny_flux_folder: Path) -> None:
    config = ModelConfig(path=str(tiny_flux_folder), device="cpu", height=36, width=32)
    with pytest.raises(UserError, match="multiples of 8"):
        load_denoiser(config)


def test_the_stock_calls_prediction_is_the_direct_one(tiny_flux: FluxDenoiser) -> None:
    """What serves the other families, on FLUX, whose denoiser is called directly; at two levels."""
    generator = torch.Generator().manual_seed(3)
    latents = torch.randn(3, 16, 16, generator=generator)
    sigma = torch.tensor([0.3, 0.8, 0.3])
    conditioning = tiny_flux.encode_prompts(["a red ball", "a blue cube", "a green cone"])
    direct = tiny_flux.predict(latents, sigma, conditioning)
    stock = Denoiser.predict(tiny_flux, latents, sigma, conditioning)
    torch.testing.assert_close(stock, direct, atol=1e-5, rtol=1e-5)
    assert tiny_flux.pipe.scheduler.__class__.__name__ == "FlowMatchEulerDiscreteScheduler"


def test_gradients_flow_through_the_stock_call(tiny_flux: FluxDenoiser) -> None:
    latents = torch.randn(1, 16, 16).requires_grad_()
    conditioning = tiny_flux.encode_prompts(["a red ball"])
    Denoiser.predict(tiny_flux, latents, torch.tensor([0.5]), conditioning).sum().backward()
    assert latents.grad is not None
    assert latents.grad.abs().sum() > 0
