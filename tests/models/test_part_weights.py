import pytest
import torch

from ablate2tune.models import load_denoiser
from ablate2tune.models.model_config import ModelConfig


def test_freed_parts_come_back_as_they_were(tiny_flux_config: ModelConfig) -> None:
    whole, lean = load_denoiser(tiny_flux_config), load_denoiser(tiny_flux_config, True)

    def held(part: str) -> int:
        return sum(p.untyped_storage().nbytes() for p in lean.parts[part].parameters())

    # The denoiser is not there yet, in shapes alone; its encoders are.
    assert 0 < held("transformer") < 4 * 1000 < held("text_encoder_2")
    shapes = {name: p.shape for name, p in whole.model.named_parameters()}
    assert {name: p.shape for name, p in lean.model.named_parameters()} == shapes
    assert all(parameter.isnan().all() for parameter in lean.model.parameters())
    prompts = ["a red ball left of a blue cube"]
    told = whole.encode_prompts(prompts)
    assert torch.equal(lean.encode_prompts(prompts).prompt_embeds, told.prompt_embeds)

    lean.weights.drop(lean.encoders)
    lean.weights.fetch([lean.part])
    assert held("vae") + held("text_encoder_2") < 4 * 1000 < held("transformer")
    for name, parameter in whole.model.named_parameters():
        assert torch.equal(lean.model.get_parameter(name), parameter), name
    # Freed encoders are read again by whoever uses them.
    pictures = [denoiser.sample(prompts, [7], 2) for denoiser in (whole, lean)]
    assert (pictures[0] == pictures[1]).all() and held("vae") > 4 * 1000


def test_what_was_not_loaded_from_files_stays(tiny_flux_config: ModelConfig) -> None:
    loaded = load_denoiser(tiny_flux_config)
    denoiser = type(loaded)(loaded.pipe, tiny_flux_config)
    denoiser.weights.drop(denoiser.encoders)
    assert not any(p.isnan().any() for p in denoiser.pipe.vae.parameters())


@pytest.mark.parametrize("size, passes", [((64, 64), [3]), ((512, 1024), [2, 1])])
def test_large_pictures_go_through_the_vae_in_few(
    tiny_flux_config: ModelConfig, monkeypatch, size: tuple[int, int], passes: list[int]
) -> None:
    denoiser, seen = load_denoiser(tiny_flux_config), []

    def mean(vae, pixels: torch.Tensor) -> torch.Tensor:
        seen.append(len(pixels))
        return pixels.new_zeros(len(pixels), 4, 2, 2)

    monkeypatch.setattr(denoiser, "_posterior_mean", mean)
    monkeypatch.setattr(denoiser, "_normalised", lambda latents: latents)
    denoiser.encode_images(torch.zeros(3, *size, 3, dtype=torch.uint8).numpy())
    assert seen == passes
