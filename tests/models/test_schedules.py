import math

import pytest
import torch
from diffusers import (
    CogVideoXDDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
)

from ablate2tune.errors import UserError
from ablate2tune.models.schedules import (
    DiscreteSchedule,
    FlowMatching,
    interpolate,
    schedule_of,
    velocity_target,
)

GENERATOR = torch.Generator().manual_seed(1)
LATENTS, NOISE = (torch.randn(3, 4, 2, 2, generator=GENERATOR) for _ in range(2))
LEVELS = [0.9, 0.5, 0.2]


def nearest(scheduler, level: float) -> int:
    """By a plain loop over all timesteps."""
    best, least = 0, math.inf
    for t, product in enumerate(scheduler.alphas_cumprod.tolist()):
        alpha, sigma = math.sqrt(product), math.sqrt(1 - product)
        distance = abs(sigma / (alpha + sigma) - level)
        if distance < least:
            best, least = t, distance
    return best


@pytest.mark.parametrize(
    "scheduler",
    [
        DDPMScheduler(beta_schedule="linear"),
        DDPMScheduler(beta_schedule="scaled_linear", prediction_type="v_prediction"),
        CogVideoXDDIMScheduler(prediction_type="v_prediction", snr_shift_scale=2.0),
    ],
    ids=lambda scheduler: f"{type(scheduler).__name__}-{scheduler.config.prediction_type}",
)
def test_a_discrete_schedule_is_the_schedulers_own(scheduler) -> None:
    schedule, sigma = schedule_of(scheduler), torch.tensor(LEVELS)
    steps = torch.tensor([nearest(scheduler, level) for level in LEVELS])
    assert torch.equal(schedule.timestep(sigma), steps)
    noised = schedule.add_noise(LATENTS, NOISE, sigma)
    torch.testing.assert_close(noised, scheduler.add_noise(LATENTS, NOISE, steps))
    target = schedule.target(LATENTS, NOISE, sigma)
    if scheduler.config.prediction_type == "epsilon":
        assert torch.equal(target, NOISE)
    else:
        torch.testing.assert_close(target, scheduler.get_velocity(LATENTS, NOISE, steps))


def test_euler_coordinates_do_not_matter() -> None:
    """Euler adds noise without shrinking the latents and shrinks both before the model."""
    scheduler = EulerDiscreteScheduler(beta_schedule="scaled_linear")
    schedule, sigma = schedule_of(scheduler), torch.tensor([0.5])
    step = schedule.timestep(sigma)
    scheduler.set_timesteps(1000)
    told = scheduler.timesteps[scheduler.timesteps == step]
    grown = scheduler.add_noise(LATENTS[:1], NOISE[:1], told)
    shrunk = scheduler.scale_model_input(grown, told[0])
    mixed = schedule.add_noise(LATENTS[:1], NOISE[:1], sigma)
    torch.testing.assert_close(mixed, shrunk, atol=1e-4, rtol=1e-4)


def test_interpolate_mixes_each_row_at_its_own_sigma():
    latents = torch.tensor([[[4.0, -2.0]], [[1.0, 1.0]], [[3.0, 5.0]]])
    noise = torch.tensor([[[8.0, 2.0]], [[9.0, 9.0]], [[7.0, 1.0]]])
    mixed = interpolate(latents, noise, torch.tensor([0.25, 0.0, 1.0]))
    assert mixed.tolist() == [[[5.0, -1.0]], [[1.0, 1.0]], [[7.0, 1.0]]]


def test_velocity_is_the_slope_of_interpolate():
    latents, noise = torch.randn(2, 3, 4).double(), torch.randn(2, 3, 4).double()
    low, high = torch.full((2,), 0.25), torch.full((2,), 0.75)
    slope = (interpolate(latents, noise, high) - interpolate(latents, noise, low)) / 0.5
    torch.testing.assert_close(slope, velocity_target(latents, noise))


def test_flow_matching_by_hand() -> None:
    schedule = schedule_of(FlowMatchEulerDiscreteScheduler(shift=3.0))
    sigma = torch.tensor([0.25])
    latents, noise = torch.tensor([[4.0]]), torch.tensor([[8.0]])
    assert schedule.add_noise(latents, noise, sigma).item() == 5.0
    assert schedule.target(latents, noise, sigma).item() == 4.0
    assert schedule.timestep(sigma).item() == 250.0


def test_a_multistep_solver_of_a_flow_is_a_flow() -> None:
    """Sana samples with one; it holds products of alphas that mean nothing there."""
    scheduler = DPMSolverMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True)
    assert isinstance(schedule_of(scheduler), FlowMatching)
    assert isinstance(schedule_of(DPMSolverMultistepScheduler()), DiscreteSchedule)


def test_other_predictions_are_refused() -> None:
    with pytest.raises(UserError, match="prediction_type 'sample' is not supported"):
        schedule_of(DDPMScheduler(prediction_type="sample"))
