"""The one denoising loss, against values by hand."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from torch import nn

from ablate2tune.models import Conditioning, Denoiser, adapter_files
from ablate2tune.models.schedules import FlowMatching, schedule_of

TOLD = Conditioning(torch.zeros(2, 1, 1))
LATENTS = torch.tensor([[[1.0, 2.0]], [[0.0, 0.0]]])
NOISE = torch.tensor([[[3.0, 1.0]], [[1.0, -1.0]]])


class Answering(Denoiser):
    """Keeps what it is asked and answers with what it was given."""

    device = property(lambda _: torch.device("cpu"))
    schedule = FlowMatching()

    def __init__(self, answer: torch.Tensor, dtype: torch.dtype = torch.float32):
        self.answer = answer
        self.pipe = SimpleNamespace(vae=SimpleNamespace(dtype=dtype))

    def predict(self, latents, sigma, conditioning, guidance=None):
        self.asked = latents, sigma, guidance
        return self.answer


class WithAdapter(Answering):
    """Adds one to the answer, unless the adapter is off."""

    model = nn.Sequential(nn.Linear(1, 1))

    def predict(self, latents, sigma, conditioning, guidance=None):
        [layer] = [m for m in self.model.modules() if isinstance(m, LoraLayer)]
        if layer.disable_adapters:
            assert not torch.is_grad_enabled()
            return self.answer[-len(latents) :]
        return self.answer + 1


class Rounding(Answering):
    rounds_sigma = True


def test_velocity_by_hand() -> None:
    # Velocities are (2, -1) and (1, -1).
    denoiser = Answering(torch.tensor([[[2.0, 3.0]], [[0.0, 0.0]]]))
    sigma = torch.tensor([0.25, 1.0])
    loss = denoiser.denoising_loss(LATENTS, NOISE, sigma, TOLD, 1.5)
    assert loss.tolist() == [8.0, 1.0]
    noised, told, guidance = denoiser.asked
    assert noised.tolist() == [[[1.5, 1.75]], [[1.0, -1.0]]]
    assert (told.tolist(), guidance) == ([0.25, 1.0], 1.5)


def test_kept_rows_are_held_against_the_prediction_without_the_adapter() -> None:
    denoiser = WithAdapter(torch.tensor([[[2.0, 3.0]], [[0.5, 7.0]]]))
    adapter_files.attach(denoiser.model, LoraConfig(r=1, target_modules=["0"]))
    sigma = torch.tensor([0.25, 1.0])
    loss = denoiser.denoising_loss(LATENTS, NOISE, sigma, TOLD, kept=torch.tensor([False, True]))
    # 3 and 4 against the velocities 2 and -1; each answer one above the base's.
    assert loss.tolist() == [(1 + 25) / 2, 1.0]


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_epsilon_and_v_by_hand(kind: Any) -> None:
    scheduler = DDPMScheduler(prediction_type=kind)
    scheduler.alphas_cumprod = torch.tensor([0.64, 0.36])
    denoiser = Answering(torch.zeros(2, 1, 2))
    denoiser.schedule = schedule_of(scheduler)
    # Noise's shares of the mixtures are 0.6 / 1.4 and 0.8 / 1.4.
    loss = denoiser.denoising_loss(LATENTS, NOISE, torch.tensor([0.6, 0.4]), TOLD)
    noised, _, _ = denoiser.asked
    torch.testing.assert_close(noised[0, 0], torch.tensor([0.6 + 2.4, 1.2 + 0.8]))
    if kind == "epsilon":
        expected = [(9 + 1) / 2, 1.0]
    else:  # alpha * noise - sigma * latents
        expected = [((1.8 - 0.8) ** 2 + (0.6 - 1.6) ** 2) / 2, 0.64]
    torch.testing.assert_close(loss, torch.tensor(expected))


def test_the_loss_is_taken_in_float32() -> None:
    denoiser = Answering(torch.full((2, 1, 1), 0.9921875).bfloat16())
    latents, noise = torch.zeros(2, 1, 1).bfloat16(), torch.ones(2, 1, 1).bfloat16()
    loss = denoiser.denoising_loss(latents, noise, torch.ones(2), TOLD)
    assert loss.dtype == torch.float32
    assert loss.tolist() == [0.0078125**2] * 2


def test_latents_are_noised_to_the_level_that_the_denoiser_is_told() -> None:
    # 0.3 in bfloat16 is 0.30078125.
    sigma = torch.tensor([0.3, 0.3])
    for kind, level in ((Rounding, 0.30078125), (Answering, sigma[0].item())):
        denoiser = kind(torch.zeros(2, 1, 2), torch.bfloat16)
        denoiser.denoising_loss(LATENTS, NOISE, sigma, TOLD)
        noised, told, _ = denoiser.asked
        assert told.tolist() == [level] * 2
        torch.testing.assert_close(noised, LATENTS + level * (NOISE - LATENTS))
