"""How a family noises latents, what its denoiser predicts, and how it is told the noise level.

A recipe's noise level sigma lies in [0, 1] and is the noise's share of the mixture: 0 is the
picture, 1 is noise. In flow matching that is the level itself, (1 - sigma) * latents + sigma *
noise. A discrete schedule (DDPM, Ho et al. 2020, arXiv:2006.11239) mixes alpha_t * latents +
sigma_t * noise with alpha_t^2 + sigma_t^2 = 1; there the recipe's level stands for the timestep t
whose sigma_t / (alpha_t + sigma_t) is nearest to it.
"""

import math
from typing import Any, Literal, Protocol

from torch import Tensor

from ablate2tune.errors import UserError


def interpolate(latents: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """The noised latents (1 - sigma) * latents + sigma * noise.

    >>> interpolate(torch.tensor([[4.0]]), torch.tensor([[8.0]]), torch.tensor([0.25]))
    tensor([[5.]])

    Args:
        latents: (batch, ...).
        noise: the shape of `latents`.
        sigma: noise levels in [0, 1], (batch,).
    """
    sigma = _over_rows(sigma, latents)
    return (1 - sigma) * latents + sigma * noise


def velocity_target(latents: Tensor, noise: Tensor) -> Tensor:
    """The velocity noise - latents, d(noised latents)/d(sigma), which the denoiser predicts."""
    return noise - latents


def squared_error(prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean squared error of each row in float32: (batch,).

    With `weight`, which spreads over the predictions' channels, (batch, 1, rows, columns) or
    (batch, tokens, 1), it is the weighted mean: how much of a picture counts does not change how
    much the picture does.
    """
    error = (prediction.float() - target).square()
    if weight is None:
        return error.flatten(1).mean(1)
    weight = weight.to(error)
    return (error * weight).flatten(1).mean(1) / weight.flatten(1).mean(1)


class Schedule(Protocol):
    """A family's noising and its prediction target; `sigma` is (batch,) in [0, 1]."""

    predicts: str
    """"velocity", "epsilon" or "v"."""
    density: Literal["flux_shift", "uniform"]
    """How such models are trained by themselves: see `train.noise_levels`."""

    def add_noise(self, latents: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        """The noised latents, the shape of `latents`."""
        ...

    def target(self, latents: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        """What the denoiser should predict from them, the shape of `latents`."""
        ...

    def timestep(self, sigma: Tensor) -> Tensor:
        """The scheduler's timestep of each noise level, (batch,)."""
        ...

    def level_at(self, time: Tensor) -> Tensor:
        """The noise level at a share of the schedule, (batch,), in [0, 1)."""
        ...

    def time_of(self, sigma: float) -> float:
        """The share of the schedule whose noise levels lie below this one."""
        ...

    def weight(self, sigma: Tensor, snr: float) -> Tensor | None:
        """What a row's squared error counts in training, (batch,); None where all count alike.

        `snr` is gamma of min-SNR; 0 is without.
        """
        ...


class FlowMatching:
    """Rectified flow (Lipman et al. 2023, arXiv:2210.02747; Esser et al. 2024, 2403.03206)."""

    predicts = "velocity"
    density: Literal["flux_shift", "uniform"] = "flux_shift"

    def __init__(self, timesteps: int = 1000):
        """Timestep = sigma * timesteps."""
        self._timesteps = timesteps

    def add_noise(self, latents: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        """See `interpolate`."""
        return interpolate(latents, noise, sigma)

    def target(self, latents: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        """See `velocity_target`."""
        return velocity_target(latents, noise)

    def timestep(self, sigma: Tensor) -> Tensor:
        """Not rounded to a whole number."""
        return sigma * self._timesteps

    def level_at(self, time: Tensor) -> Tensor:
        """The noise level is the time."""
        return time

    def time_of(self, sigma: float) -> float:
        """The same."""
        return sigma

    def weight(self, sigma: Tensor, snr: float) -> Tensor | None:
        """All count alike."""
        return None


class DiscreteSchedule:
    """A variance-preserving schedule of whole timesteps, predicting epsilon or v.

    v = alpha * noise - sigma * latents (Salimans & Ho 2022, arXiv:2202.00512).
    """

    density: Literal["flux_shift", "uniform"] = "uniform"

    def __init__(self, alphas_cumprod: Tensor, v_prediction: bool):
        """From the products of 1 - beta, (timesteps,), as the pipeline's scheduler holds them."""
        self.predicts = "v" if v_prediction else "epsilon"
        products = alphas_cumprod.double().cpu()
        self._alpha, self._sigma = products.sqrt(), (1 - products).sqrt()
        self._level = self._sigma / (self._alpha + self._sigma)

    def add_noise(self, latents: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        """alpha_t * latents + sigma_t * noise."""
        alpha, spread = self._at(sigma, latents)
        return alpha * latents + spread * noise

    def target(self, latents: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        """The noise, or v."""
        if self.predicts == "epsilon":
            return noise
        alpha, spread = self._at(sigma, latents)
        return alpha * noise - spread * latents

    def timestep(self, sigma: Tensor) -> Tensor:
        """The whole timestep whose sigma_t / (alpha_t + sigma_t) is nearest, int64."""
        distance = (self._level[None] - sigma.double().cpu()[:, None]).abs()
        return distance.argmin(1).to(sigma.device)

    def level_at(self, time: Tensor) -> Tensor:
        """That of the whole timestep: timesteps are drawn alike often, as DDPM draws them."""
        steps = len(self._level)
        index = (time.double().cpu() * steps).long().clamp(max=steps - 1)
        return self._level[index].to(time)

    def time_of(self, sigma: float) -> float:
        """Counted over the timesteps."""
        return (self._level < sigma).double().mean().item()

    def weight(self, sigma: Tensor, snr: float) -> Tensor | None:
        """Min-SNR (Hang et al. 2023, arXiv:2303.09556): min(SNR, gamma) over what SNR weighs.

        SNR = alpha_t^2 / sigma_t^2; it is over SNR for epsilon, over SNR + 1 for v.
        """
        if not snr:
            return None
        index = self.timestep(sigma).cpu()
        ratio = (self._alpha[index] / self._sigma[index]).square()
        if self.predicts == "epsilon":
            return (snr / ratio).clamp(max=1).to(sigma)
        return (ratio.clamp(max=snr) / (ratio + 1)).to(sigma)

    def _at(self, sigma: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        index = self.timestep(sigma).cpu()
        return _over_rows(self._alpha[index], like), _over_rows(self._sigma[index], like)


def schedule_of(scheduler: Any) -> Schedule:
    """The schedule that a pipeline's scheduler samples along.

    Raises:
        UserError: it predicts something else than velocity, epsilon or v.
    """
    config = scheduler.config
    kind = config.get("prediction_type", None)
    products = getattr(scheduler, "alphas_cumprod", None)
    if products is None or kind == "flow_prediction":
        return FlowMatching(config.get("num_train_timesteps", 1000))
    if kind not in ("epsilon", "v_prediction"):
        raise UserError(
            f"prediction_type {kind!r} is not supported",
            where=f"scheduler {type(scheduler).__name__}",
            mend="use a model that predicts epsilon, v or flow",
        )
    return DiscreteSchedule(products, kind == "v_prediction")


def sampler_shift(config: Any, tokens: int, mu: float | None = None) -> float:
    """Shift of the noise levels that a pipeline's scheduler samples along.

    Where it is dynamic it is e^mu, or mu itself where the scheduler says so. FLUX's mu is linear in
    the number of image tokens (`calculate_shift` in diffusers); other schedulers hold a constant.

    Args:
        config: the scheduler's.
        tokens: of a picture.
        mu: where the pipeline computes it in another way.
    """
    if not config.get("use_dynamic_shifting", False):
        return float(config.get("shift", config.get("flow_shift", 1.0)))
    found = mu
    if found is None:
        low, high = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
        base, top = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
        found = float(base + (top - base) * (tokens - low) / (high - low))
    return found if config.get("time_shift_type") == "linear" else math.exp(found)


def _over_rows(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like).reshape(-1, *[1] * (like.ndim - 1))
