"""An adapter with a lowest noise level: on in the steps above it, off in those below."""

from pathlib import Path

import numpy as np
import pytest
import tiny_adapters
import torch
from diffusers import DDIMScheduler, FluxPipeline
from peft.tuners.tuners_utils import BaseTunerLayer
from tiny_adapters import SIZE, saved
from tiny_pipelines import FAMILIES

from ablate2tune.compare.arms import Arm
from ablate2tune.models import Denoiser, load_denoiser
from ablate2tune.models.adapter_files import switched_off
from ablate2tune.models.calls.adapter_window import predicted_above, sampled_above

STEPS = 6
SOME = {"Flux", "StableDiffusionXL", "PixArtAlpha", "AuraFlow", "Sana"}
PROMPTS = ["a red ball on a blue cube", "a dog"]


@pytest.fixture(params=[f for f in FAMILIES if str(f) in SOME], ids=str)
def denoiser(request, tmp_path: Path) -> Denoiser:
    return saved(request.param, tmp_path / "model")


def adapt(denoiser: Denoiser, folder: Path, lowest: float) -> None:
    """Load an adapter from disk that changes predictions much, and acts above this level."""
    denoiser.save_adapter(folder, tiny_adapters.adapt(denoiser, lowest))
    denoiser.remove_adapter()
    denoiser.load_adapter(folder)


def layers(denoiser: Denoiser) -> list[BaseTunerLayer]:
    return [module for module in denoiser.model.modules() if isinstance(module, BaseTunerLayer)]


def drawn_by(denoiser: Denoiser) -> np.ndarray:
    return denoiser.sample(PROMPTS, [5, 6], STEPS)


def test_the_steps_it_acts_in(denoiser: Denoiser, tmp_path: Path) -> None:
    base = drawn_by(denoiser)
    adapt(denoiser, tmp_path / "adapter", 0.7)
    assert denoiser.acts_above == 0.7
    was_on: list[bool] = []
    hook = denoiser.model.register_forward_pre_hook(
        lambda *_: was_on.append(not any(layer.disable_adapters for layer in layers(denoiser)))
    )
    pictures = drawn_by(denoiser)
    hook.remove()
    times = denoiser.pipe.scheduler.timesteps
    lowest = denoiser.schedule.timestep(torch.tensor([0.7])).item()
    assert was_on == [t >= lowest for t in times.tolist()]
    assert 0 < sum(was_on) < STEPS
    assert not {"step", "set_timesteps"} & vars(denoiser.pipe.scheduler).keys()
    assert not any(layer.disable_adapters for layer in layers(denoiser))
    assert np.array_equal(drawn_by(denoiser), pictures), "a second call begins with it on"
    assert not np.array_equal(pictures, base)

    denoiser.acts_above = 0.0
    assert not np.array_equal(drawn_by(denoiser), pictures)
    denoiser.remove_adapter()
    denoiser.acts_above = 0.7
    assert np.array_equal(drawn_by(denoiser), base), "without an adapter there is nothing to switch"


def test_sampling_is_as_a_callback_of_diffusers_does_it(tiny_flux: Denoiser, tmp_path) -> None:
    adapt(tiny_flux, tmp_path / "adapter", 0.8)
    pictures = drawn_by(tiny_flux)
    pipe = FluxPipeline.from_pretrained(tiny_flux.config.path)
    pipe.set_progress_bar_config(disable=True)
    pipe.load_lora_weights(tmp_path / "adapter")

    def above(pipe, step, timestep, kwargs):
        following = pipe.scheduler.timesteps[step + 1 :]
        if len(following) and following[0] < 800:
            pipe.disable_lora()
        return kwargs

    stock = pipe(
        prompt=PROMPTS,
        height=SIZE,
        width=SIZE,
        num_inference_steps=STEPS,
        guidance_scale=tiny_flux.config.guidance_scale,
        max_sequence_length=tiny_flux.max_sequence_length,
        generator=[torch.Generator().manual_seed(seed) for seed in (5, 6)],
        output_type="np",
        callback_on_step_end=above,
    ).images
    assert np.array_equal(pictures, (stock * 255).round().astype(np.uint8))


def test_an_arm_may_have_another_level(tiny_flux: Denoiser, tmp_path: Path) -> None:
    adapt(tiny_flux, tmp_path / "adapter", 0.7)
    tiny_flux.remove_adapter()
    for level, expected in ((None, 0.7), (0.0, 0.0), (0.9, 0.9)):
        with Arm("arm", tmp_path / "adapter", acts_above=level).applied(tiny_flux):
            assert tiny_flux.acts_above == expected
        assert tiny_flux.acts_above == 0


def test_predictions_below_are_the_bases(tiny_flux: Denoiser, tmp_path: Path) -> None:
    latents = tiny_flux.encode_images(np.zeros((3, SIZE, SIZE, 3), np.uint8))
    rows = latents, torch.tensor([0.9, 0.5, 0.8]), tiny_flux.encode_prompts(["a ball"] * 3)
    with torch.no_grad():
        base = tiny_flux.predict(*rows)
        adapt(tiny_flux, tmp_path / "adapter", 0.0)
        tuned = tiny_flux.predict(*rows)
        tiny_flux.acts_above = 0.8
        both = tiny_flux.predict(*rows)
        with switched_off(tiny_flux.model):  # what is off stays off
            torch.testing.assert_close(tiny_flux.predict(*rows), base)
            assert all(layer.disable_adapters for layer in layers(tiny_flux))
    assert (tuned - base).abs().amax((1, 2)).min() > 1e-3
    torch.testing.assert_close(both, torch.stack([tuned[0], base[1], tuned[2]]))
    assert not any(layer.disable_adapters for layer in layers(tiny_flux))


def test_a_level_that_is_rounded_is_still_above(tiny_flux: Denoiser, tmp_path: Path) -> None:
    """In bfloat16 a level of .9 is .8984."""
    rounded = load_denoiser(tiny_flux.config.model_copy(update={"dtype": "bfloat16"}))
    adapt(rounded, tmp_path / "adapter", 0.9)
    latents = rounded.encode_images(np.zeros((2, SIZE, SIZE, 3), np.uint8))
    rows = latents, torch.zeros_like(latents), torch.tensor([0.9, 0.89])
    taught = next(p for name, p in rounded.model.named_parameters() if "lora_B" in name)
    taught.requires_grad_()
    losses = rounded.denoising_loss(*rows, rounded.encode_prompts(PROMPTS))
    (slopes,) = torch.autograd.grad(losses[0], [taught])
    assert slopes.abs().max() > 0


def test_sampling_leaves_the_adapter_as_it_was(tiny_flux: Denoiser, tmp_path: Path) -> None:
    base = tiny_flux.sample(PROMPTS, [5, 6], 2)
    adapt(tiny_flux, tmp_path / "adapter", 0.0)
    layers(tiny_flux)[0].lora_A.requires_grad_(False)  # as `train.method=full` has it
    trained = [p.requires_grad for p in tiny_flux.model.parameters()]
    assert any(trained)
    for lowest in (0.0, 0.7):
        tiny_flux.acts_above = lowest
        tiny_flux.sample(PROMPTS, [5, 6], 2)
        assert [p.requires_grad for p in tiny_flux.model.parameters()] == trained
        with switched_off(tiny_flux.model):
            assert np.array_equal(tiny_flux.sample(PROMPTS, [5, 6], 2), base)
        assert [p.requires_grad for p in tiny_flux.model.parameters()] == trained


def test_a_sampler_that_begins_below_is_without_it(tiny_flux: Denoiser, tmp_path: Path) -> None:
    """DDIM of two steps begins at timestep 501 of 1000, and an adapter from 600 on never acts."""
    adapt(tiny_flux, tmp_path / "adapter", 0.6)
    scheduler = DDIMScheduler(timestep_spacing="leading", steps_offset=1)
    found = []
    for steps in (2, 3):
        with sampled_above(scheduler, tiny_flux.model, torch.tensor(600)):
            scheduler.set_timesteps(steps)
            for time in scheduler.timesteps:
                found.append((time.item(), not layers(tiny_flux)[0].disable_adapters))
                scheduler.step(torch.zeros(1, 4), time, torch.zeros(1, 4))
    assert found == [(501, False), (1, False), (667, True), (334, False), (1, False)]
    assert not any(layer.disable_adapters for layer in layers(tiny_flux))


def test_a_failed_call_leaves_it_on(tiny_flux: Denoiser, tmp_path: Path) -> None:
    adapt(tiny_flux, tmp_path / "adapter", 0.5)
    held = {"step": lambda *_: None, "set_timesteps": None, "timesteps": torch.tensor([1e3, 400.0])}
    scheduler = type("Scheduler", (), held)()
    with (
        pytest.raises(RuntimeError),
        sampled_above(scheduler, tiny_flux.model, torch.tensor(500.0)),
    ):
        scheduler.step(None, 1000.0)
        assert all(layer.disable_adapters for layer in layers(tiny_flux))
        raise RuntimeError
    assert not any(layer.disable_adapters for layer in layers(tiny_flux))


def test_equal_rows_are_one_call(tiny_flux: Denoiser, tmp_path: Path) -> None:
    """Where all rows are on one side, nothing is taken apart."""
    adapt(tiny_flux, tmp_path / "adapter", 0.5)
    calls = []

    def predict(latents, sigma, *_):
        calls.append((len(latents), layers(tiny_flux)[0].disable_adapters))
        return latents

    for sigma in ([0.6, 0.5], [0.4, 0.1], [0.4, 0.6]):
        given = torch.zeros(2, 4), torch.tensor(sigma), tiny_flux.encode_prompts(PROMPTS)
        predicted_above(0.5, tiny_flux.model, predict, *given, None)
    assert calls == [(2, False), (2, True), (1, False), (1, True)]
