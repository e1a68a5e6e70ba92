"""The base of all families: a stock text-to-image pipeline behind one interface."""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ablate2tune.errors import UserError
from ablate2tune.models import adapter_files
from ablate2tune.models.calls import adapter_window, one_step, stock_pictures
from ablate2tune.models.calls.kept_prompts import KeptPrompts
from ablate2tune.models.conditioning import Conditioning, Tokenised
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.models.native_names import Native
from ablate2tune.models.part_weights import PartWeights
from ablate2tune.models.schedules import Schedule, sampler_shift, schedule_of, squared_error
from ablate2tune.models.studied import Studied
from ablate2tune.progress import Progress

MOST_PIXELS, MOST_TOKENS = 2**20, 2**14
"""Of what is encoded in one pass: more would need more memory than training does."""
MOVING = "a picture token's position depends on the prompt's length"
"""A `mean_obstacle`."""


class Denoiser(Studied):
    """A pipeline behind the interface that localize, train and compare use.

    A family states what `encode_prompt` returns, how latents are laid out, and what it cannot do;
    the rest comes from the stock pipeline. `serves` registers it.
    """

    part: ClassVar[str] = "transformer"
    """The pipeline's component that denoises."""
    encoded: ClassVar[tuple[str, ...]] = ("prompt_embeds",)
    """What `encode_prompt` returns, by position: names of the call's arguments; "" is dropped."""
    patch: ClassVar[int] = 2
    """Latent rows and columns to a token."""
    shifts_latents: ClassVar[bool] = False
    """Whether the VAE's shift_factor is taken off before scaling."""
    unguided: ClassVar[float | None] = 1.0
    """The call's guidance_scale without guidance; None where it is only an embedding's value."""
    train_obstacle: ClassVar[str | None] = None
    """Why `train` and `compare` refuse the family; None where they serve it."""
    single_timestep: ClassVar[float | None] = None
    """Where the call makes a single number of its timestep: what it multiplies it by."""
    comfyui: ClassVar[str | None] = None
    """What stands before a module's name where ComfyUI reads diffusers' names: "transformer." or
    "lora_unet_", whose names have no dots; None where it reads none."""
    pattern_network: ClassVar[str | None] = None
    """The network of sd-scripts that takes ranks by patterns of layers' names, if there is one."""
    latents_dtype: ClassVar[torch.dtype | None] = None
    """Dtype in which the call takes latents; None: the model's."""
    rounds_sigma: ClassVar[bool] = False
    """Whether the call rounds the noise level to the latents' dtype."""

    def __init__(self, pipe: Any, config: ModelConfig):
        """Wrap a loaded pipeline; its modules are put in eval mode and frozen."""
        self.pipe, self.config = pipe, config
        self.pipe.set_progress_bar_config(disable=True)
        self.schedule: Schedule = schedule_of(pipe.scheduler)
        """How latents are noised and what the model predicts."""
        self.weights = PartWeights(pipe)  # encoders that were freed come back when they are used
        for part in self.parts.values():
            part.requires_grad_(False).eval()
        self._defaults = one_step.call_defaults(pipe)
        self._kept = KeptPrompts(lambda: self.weights.fetch(self.encoders))

    @property
    def model(self) -> nn.Module:
        """The denoiser, whose components are ablated and adapted."""
        return getattr(self.pipe, self.part)

    @property
    def parts(self) -> dict[str, nn.Module]:
        """The pipeline's modules."""
        return self.weights.parts

    @property
    def encoders(self) -> list[str]:
        """Names of the parts beside the denoiser: text encoders and VAE."""
        return [name for name in self.parts if name != self.part]

    @property
    def carrier(self) -> tuple[Any, str]:
        """The pipeline, and the name of its denoiser."""
        return self.pipe, self.part

    def to(self, device: torch.device | None) -> None:
        """Move the pipeline to a device."""
        self.weights.to(device)

    @property
    def dtype(self) -> torch.dtype:
        """Inference dtype of the frozen base."""
        return self.pipe.vae.dtype

    @property
    def max_sequence_length(self) -> int:
        """Tokens of the long text encoder: the recipe's, or the stock call's default.

        The tokenizer's own where the stock call offers no choice (Stable Diffusion).
        """
        if not self.length_is_free:
            return self.pipe.tokenizer.model_max_length
        return self.config.max_sequence_length or self._defaults["max_sequence_length"]

    @property
    def length_is_free(self) -> bool:
        """Whether the recipe's `max_sequence_length` counts: not where the encoder's is fixed."""
        return "max_sequence_length" in self._defaults

    @torch.no_grad()
    def encode_prompts(
        self, prompts: Sequence[str], batch_size: int = 64, among: Sequence[str] | None = None
    ) -> Conditioning:
        """Encode prompts as the pipeline does; equal prompts are encoded once.

        Args:
            batch_size: prompts to a pass of the text encoders, fewer where they are long.
            among: all prompts that will be joined with these, which some families pad to the
                longest one; these alone by default.
        """
        self.weights.fetch(self.encoders)
        unique = list(dict.fromkeys(prompts))
        everything = unique if among is None else list(among)
        batch_size = max(1, min(batch_size, MOST_TOKENS // self.max_sequence_length))
        parts = [
            self._encode(unique[start : start + batch_size], everything)
            for start in range(0, len(unique), batch_size)
        ]
        row = {prompt: index for index, prompt in enumerate(unique)}
        return Conditioning.cat(parts)[[row[prompt] for prompt in prompts]]

    def _encode(self, prompts: list[str], among: list[str]) -> Conditioning:
        """Encode one batch of the prompts `among` which it is, with equally many tokens each."""
        tensors = one_step.encode_as_called(
            self.pipe, prompts, max_sequence_length=self.max_sequence_length
        )
        return Conditioning.of(
            {name: x for name, x in zip(self.encoded, tensors, strict=False) if name}
        )

    def token_span(self, prompt: str, start: int, end: int) -> slice:
        """Rows of the prompt's token embeddings that hold the characters [start, end).

        Raises:
            UserError: the prompt is longer than the text encoder takes.
        """
        tokens = self._tokenised(prompt)
        padding = {"padding": "max_length"} if tokens.padded else {}
        cut = {"truncation": True, "max_length": tokens.limit}
        encoding = tokens.tokenizer(tokens.text, **cut, **padding)
        before = tokens.text.rindex(prompt)
        first = encoding.char_to_token(before + start)
        last = encoding.char_to_token(before + end - 1)
        if first is None or last is None:
            raise UserError(
                f"{prompt!r} does not fit in {self.max_sequence_length} tokens",
                where="model.max_sequence_length",
            )
        return slice(first + tokens.offset, last + 1 + tokens.offset)

    def token_count(self, prompt: str) -> tuple[int, int]:
        """How many tokens a prompt has, its template's among them, and how many are not cut."""
        tokens = self._tokenised(prompt)
        encoding = tokens.tokenizer(tokens.text, truncation=False, verbose=False)
        return len(encoding.input_ids), tokens.limit

    def _tokenised(self, prompt: str) -> Tokenised:
        return Tokenised(self.pipe.tokenizer, prompt, self.max_sequence_length)

    @torch.no_grad()
    def encode_images(self, images: np.ndarray, batch_size: int = 64) -> Tensor:
        """Encode pictures into the latents that the pipeline denoises (the posterior's mean).

        Args:
            images: uint8, (batch, height, width, 3).
            batch_size: pictures to a pass of the VAE, fewer where they are large.

        Returns:
            As the stock call takes `latents`: (batch, channels, rows, columns), or packed,
            (batch, tokens, channels).
        """
        self.weights.fetch(self.encoders)
        vae, parts = self.pipe.vae, []
        batch_size = max(1, min(batch_size, MOST_PIXELS // (images.shape[1] * images.shape[2])))
        for start in range(0, len(images), batch_size):
            pixels = torch.from_numpy(images[start : start + batch_size]).permute(0, 3, 1, 2)
            pixels = (pixels.to(self.device, self.dtype) / 127.5) - 1
            parts.append(self._normalised(self._posterior_mean(vae, pixels)))
        return torch.cat(parts)

    def _posterior_mean(self, vae: Any, pixels: Tensor) -> Tensor:
        return vae.encode(pixels).latent_dist.mode()

    def _normalised(self, latents: Tensor) -> Tensor:
        """The inverse of what the pipeline does to latents before it decodes them."""
        config = self.pipe.vae.config
        if self.shifts_latents:
            latents = latents - config.shift_factor
        return latents * config.scaling_factor

    def predict(
        self,
        latents: Tensor,
        sigma: Tensor,
        conditioning: Conditioning,
        guidance: float | None = None,
    ) -> Tensor:
        """The model's prediction, of what `schedule.target` says, in the shape of `latents`.

        Args:
            latents: noised latents as `encode_images` lays them out, (batch, ...).
            sigma: noise levels in [0, 1], (batch,).
            conditioning: one row per latent.
            guidance: value of the guidance embedding for models that have one; the recipe's
                `guidance_scale` by default. Others predict without guidance.
        """
        rows = latents, sigma, conditioning, guidance
        lowest = self._told(torch.tensor(self.acts_above)).item()  # as the rows' own levels are
        return adapter_window.predicted_above(lowest, self.model, self._predict, *rows)

    def _predict(
        self, latents: Tensor, sigma: Tensor, conditioning: Conditioning, guidance: float | None
    ) -> Tensor:
        one = len(sigma.unique()) == 1
        return self._predict_at(latents, sigma[0] if one else sigma, conditioning, guidance)

    def predict_noised(
        self,
        latents: Tensor,
        noise: Tensor,
        sigma: Tensor,
        conditioning: Conditioning,
        guidance: float | None = None,
    ) -> Tensor:
        """The prediction for clean latents that are noised to these levels: `denoising_loss`'s."""
        noised = self.schedule.add_noise(latents, noise, self._told(sigma))
        return self.predict(noised, self._told(sigma), conditioning, guidance)

    def denoising_loss(
        self,
        latents: Tensor,
        noise: Tensor,
        sigma: Tensor,
        conditioning: Conditioning,
        guidance: float | None = None,
        kept: Tensor | None = None,
        same: Sequence[int] | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """The squared error of the prediction against the family's own target, per row.

        The target is the velocity, the noise or v (see `schedules`): the family's own loss, but
        for a weight of the noise levels.

        Args:
            latents: clean, (batch, ...), on any device.
            noise: the shape of `latents`.
            sigma, conditioning, guidance: see `predict`.
            kept: bool (batch,), the rows whose target is the prediction without the adapter.
            same: for each row, the first with the same input, which alone is computed.
            weight: how much each place of a picture counts (`squared_error`).

        Returns:
            (batch,), float32, on the denoiser's device; gradients flow where they are enabled.
        """
        latents, noise = (x.to(self.device, torch.float32) for x in (latents, noise))
        sigma = self._told(sigma.to(self.device))
        conditioning = conditioning.to(self.device)
        target = self.schedule.target(latents, noise, sigma)
        if kept is not None:
            rows = kept.to(self.device).nonzero().flatten()
            some = latents[rows], noise[rows], sigma[rows], conditioning[rows]
            with torch.no_grad(), adapter_files.switched_off(self.model):
                target = target.index_copy(0, rows, self.predict_noised(*some, guidance).float())
        asked = latents, noise, sigma, conditioning
        predict = partial(self.predict_noised, guidance=guidance)
        return squared_error(one_step.once_each(predict, asked, same), target, weight)

    def _told(self, sigma: Tensor) -> Tensor:
        """The noise levels that the denoiser hears of, so that latents are noised to these."""
        return sigma.to(self.dtype).float() if self.rounds_sigma else sigma

    def _predict_at(
        self, latents: Tensor, sigma: Tensor, conditioning: Conditioning, guidance: float | None
    ) -> Tensor:
        """One call of the pipeline; `sigma` is a scalar, or (batch,)."""
        timestep = self.schedule.timestep(sigma.to(self.device).reshape(-1)).reshape(sigma.shape)
        arguments = {
            **self._call_arguments(),
            **self._conditioning_arguments(conditioning),
            **({"true_cfg_scale": 1.0} if "true_cfg_scale" in self._defaults else {}),
            "latents": latents.to(self.device, self.latents_dtype or self.dtype),
            "guidance_scale": self._guidance(guidance, self.unguided),
        }
        if self.single_timestep is None or not timestep.ndim:
            return one_step.predict_once(self.pipe, timestep, arguments)
        with one_step.told_timesteps(self.model, timestep * self.single_timestep):
            return one_step.predict_once(self.pipe, timestep[0], arguments)

    def _guidance(self, embedded: float | None, scale: float | None) -> float | None:
        """The call's guidance_scale: an embedding's value, or the scale of guidance."""
        if self.model.config.get("guidance_embeds", False):  # pyright: ignore
            return self.config.guidance_scale if embedded is None else embedded
        return None if self.unguided is None else scale

    def _conditioning_arguments(self, conditioning: Conditioning) -> dict[str, Any]:
        return dict(conditioning.arguments())

    def _call_arguments(self) -> dict[str, Any]:
        """What every call of the pipeline is given, of what it takes."""
        arguments = {
            "height": self.config.height,
            "width": self.config.width,
            "max_sequence_length": self.max_sequence_length,
            "use_resolution_binning": False,  # it would take another size than the recipe's
        }
        return {name: value for name, value in arguments.items() if name in self._defaults}

    @property
    def size_multiple(self) -> int:
        """Height and width in pixels are multiples of this."""
        return self.pipe.vae_scale_factor * self.patch

    @property
    def latent_grid(self) -> tuple[int, int]:
        """Rows and columns of latent tokens at the recipe's image size."""
        return self.config.height // self.size_multiple, self.config.width // self.size_multiple

    @property
    def sigma_shift(self) -> float:
        """The sampler's shift s: sigma' = s*sigma / (1 + (s - 1)*sigma) (`sampler_shift`)."""
        rows, columns = self.latent_grid
        return sampler_shift(self.pipe.scheduler.config, rows * columns, self._mu(rows * columns))

    def _mu(self, tokens: int) -> float | None:
        """What a dynamic shift is computed from; None where it is as FLUX.1's."""
        return None

    @torch.no_grad()
    def sample(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        steps: int,
        true_cfg_scale: float = 1.0,
        batch_size: int = 50,
        on_progress: Progress | None = None,
    ) -> np.ndarray:
        """Pictures, one per (prompt, seed), by the stock call: uint8, (batch, height, width, 3).

        Each picture's noise comes from its own generator, so it does not depend on the batch.
        The recipe's `guidance_scale` is the call's; `true_cfg_scale` is for calls that have it.

        Raises:
            UserError: a picture is not finite.
        """
        self.weights.fetch(name for name in self.encoders if not name.startswith("text_encoder"))
        pipe, parts = self._kept.using(self.pipe), []
        level = self.schedule.timestep(torch.tensor([self.acts_above]))[0]
        lowest = level if self.acts_above else None
        for start in range(0, len(prompts), batch_size):
            some = slice(start, start + batch_size)
            given = self._sampling_arguments(len(prompts[some]), steps, true_cfg_scale)
            with adapter_window.sampled_above(self.pipe.scheduler, self.model, lowest):
                images = stock_pictures.drawn(pipe, prompts[some], seeds[some], given)
            parts.append(stock_pictures.as_bytes(images, self.config))
            if on_progress:
                on_progress(min(start + batch_size, len(prompts)), len(prompts))
        return np.concatenate(parts)

    def keep_prompts(self, prompts: Sequence[str], batch_size: int = 50) -> None:
        """Encode prompts as `sample` will, which then takes the same without the text encoders."""
        for start in range(0, len(prompts), batch_size):
            some = prompts[start : start + batch_size]
            rows = some, [0] * len(some), self._sampling_arguments(len(some), 1)
            self._kept.keep(self.pipe, lambda pipe, rows=rows: stock_pictures.drawn(pipe, *rows))

    def _sampling_arguments(self, count: int, steps: int, true_cfg: float = 1.0) -> dict[str, Any]:
        """What the call is given for so many pictures, beside prompts and seeds."""
        guided, negative = "true_cfg_scale" in self._defaults, [""] * count
        return {
            "num_inference_steps": steps,
            "guidance_scale": self._guidance(None, self.config.guidance_scale),
            **self._call_arguments(),
            **({"negative_prompt": negative if true_cfg > 1 else None} if guided else {}),
            **({"true_cfg_scale": true_cfg} if guided else {}),
        }

    def native(self, name: str) -> Native | None:
        """What a module is called in the original code, by which kohya's scripts name it.

        None where that is not known.
        """
        return None
