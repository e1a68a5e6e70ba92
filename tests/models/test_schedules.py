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
from diffusers.training_utils import compute_snr

from ablate2tune.errors import UserError
from ablate2tune.models.schedules import (
    DiscreteSchedule,
    FlowMatching,
    interpolate,
    sampler_shift,
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


def test_timesteps_are_drawn_alike_often() -> None:
    scheduler = DDPMScheduler(beta_schedule="scaled_linear")
    schedule, time = schedule_of(scheduler), torch.tensor([0.0, 0.2504, 0.9999])
    level = schedule.level_at(time)
    assert schedule.timestep(level).tolist() == [0, 250, 999]
    # All of the first 250 timesteps' levels lie below that of timestep 250, and no other.
    assert schedule.time_of(level[1].item() - 1e-6) == 0.25
    assert schedule.time_of(0.0) == 0.0 and schedule.time_of(1.0) == 1.0


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_min_snr_is_diffusers(kind: str) -> None:
    scheduler = DDPMScheduler(beta_schedule="scaled_linear", prediction_type=kind)
    schedule, steps = schedule_of(scheduler), torch.tensor([10, 300, 900])
    snr = compute_snr(scheduler, steps)
    assert (snr > 5).tolist() == [True, False, False]
    expected = snr.clamp(max=5) / (snr + (kind == "v_prediction"))
    weight = schedule.weight(schedule.level_at((steps + 0.5) / 1000), 5.0)
    torch.testing.assert_close(weight, expected)
    assert schedule.weight(torch.tensor([0.5]), 0.0) is None


def test_an_end_without_signal_counts_by_hand() -> None:
    """SNR = 0: epsilon is all that there is to see, and v is the latents alone."""
    for predicts_v, expected in ((False, 1.0), (True, 0.0)):
        schedule = DiscreteSchedule(torch.tensor([0.9, 0.0]), predicts_v)
        weight = schedule.weight(torch.tensor([1.0]), 5.0)
        assert weight is not None and weight.tolist() == [expected]


def test_shifts_of_schedulers() -> None:
    """By the schedulers' own arithmetic, at a shift that is theirs."""
    linear = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, time_shift_type="linear")
    linear.set_timesteps(sigmas=[0.5], mu=1.7)
    s = sampler_shift(linear.config, 64, mu=1.7)
    assert linear.sigmas[0].item() == pytest.approx(0.5 * s / (1 + 0.5 * (s - 1)))
    sana = DPMSolverMultistepScheduler(
        use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=3.0
    )
    assert sampler_shift(sana.config, 64) == 3.0
    assert sampler_shift(DDPMScheduler().config, 64) == 1.0


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
