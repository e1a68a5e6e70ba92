"""Pipelines as the stages see them: encode prompts and images, predict velocity, sample.

`diffusers` loads, encodes and samples; an adapter per model family states only what differs
between families. The FLUX adapter follows `FluxPipeline` (diffusers 0.42): latents packed 2x2,
`(z - shift_factor) * scaling_factor`, timestep = sigma, text ids zero.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import diffusers
import numpy as np
import torch
import transformers
from diffusers import FluxPipeline
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ablate2tune.errors import UserError, did_you_mean
from ablate2tune.recipe import ModelConfig

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Conditioning:
    """What the denoiser is told about the prompts, one row per prompt."""

    prompt_embeds: Tensor
    """Token embeddings, (batch, text tokens, channels)."""
    pooled: Tensor
    """Pooled embedding, (batch, channels)."""

    def __len__(self) -> int:
        return len(self.prompt_embeds)

    def __getitem__(self, index: slice | Tensor | list[int]) -> "Conditioning":
        return Conditioning(self.prompt_embeds[index], self.pooled[index])

    @staticmethod
    def cat(parts: Sequence["Conditioning"]) -> "Conditioning":
        """Join rows."""
        return Conditioning(
            torch.cat([part.prompt_embeds for part in parts]),
            torch.cat([part.pooled for part in parts]),
        )


class FluxDenoiser:
    """A `FluxPipeline` behind the interface that localize, train and compare use."""

    def __init__(self, pipe: FluxPipeline, config: ModelConfig):
        """Wrap a loaded pipeline; its modules are put in eval mode and frozen."""
        self.pipe, self.config = pipe, config
        self.pipe.set_progress_bar_config(disable=True)
        for module in (pipe.transformer, pipe.vae, pipe.text_encoder, pipe.text_encoder_2):
            module.requires_grad_(False).eval()

    @property
    def model(self) -> nn.Module:
        """The denoiser, whose components are ablated and adapted."""
        return self.pipe.transformer

    @property
    def device(self) -> torch.device:
        """Where the denoiser lies."""
        return self.pipe.transformer.device

    @property
    def dtype(self) -> torch.dtype:
        """Inference dtype of the frozen base."""
        return self.pipe.vae.dtype

    @torch.no_grad()
    def encode_prompts(self, prompts: Sequence[str], batch_size: int = 64) -> Conditioning:
        """Encode prompts as the pipeline does; equal prompts are encoded once."""
        unique = list(dict.fromkeys(prompts))
        parts = []
        for start in range(0, len(unique), batch_size):
            embeds, pooled, _ = self.pipe.encode_prompt(
                unique[start : start + batch_size],
                max_sequence_length=self.config.max_sequence_length,
            )
            parts.append(Conditioning(embeds, pooled))
        row = {prompt: index for index, prompt in enumerate(unique)}
        return Conditioning.cat(parts)[[row[prompt] for prompt in prompts]]

    def token_span(self, prompt: str, start: int, end: int) -> slice:
        """Rows of the prompt's token embeddings that hold the characters [start, end).

        Raises:
            UserError: the prompt is longer than the recipe's `max_sequence_length`.
        """
        encoding = self.pipe.tokenizer_2(
            prompt, truncation=True, max_length=self.config.max_sequence_length
        )
        first, last = encoding.char_to_token(start), encoding.char_to_token(end - 1)
        if first is None or last is None:
            raise UserError(
                f"{prompt!r} does not fit in {self.config.max_sequence_length} tokens",
                where="model.max_sequence_length",
            )
        return slice(first, last + 1)

    @torch.no_grad()
    def encode_images(self, images: np.ndarray, batch_size: int = 64) -> Tensor:
        """Encode pictures into packed, normalised latents (the posterior's mean).

        Args:
            images: uint8, (batch, height, width, 3).

        Returns:
            (batch, height/2f * width/2f, 4 * latent channels), f the VAE's scale factor.
        """
        vae, parts = self.pipe.vae, []
        for start in range(0, len(images), batch_size):
            pixels = torch.from_numpy(images[start : start + batch_size]).permute(0, 3, 1, 2)
            pixels = (pixels.to(self.device, self.dtype) / 127.5) - 1
            latents = vae.encode(pixels).latent_dist.mode()
            latents = (latents - vae.config.shift_factor) * vae.config.scaling_factor
            parts.append(self.pipe._pack_latents(latents, *latents.shape))
        return torch.cat(parts)

    def velocity(
        self,
        latents: Tensor,
        sigma: Tensor,
        conditioning: Conditioning,
        guidance: float | None = None,
    ) -> Tensor:
        """The denoiser's velocity prediction.

        Args:
            latents: packed noisy latents, (batch, tokens, channels).
            sigma: noise levels in [0, 1], (batch,).
            conditioning: one row per latent.
            guidance: value of the guidance embedding; the recipe's `guidance_scale` by default.

        Returns:
            (batch, tokens, channels), an estimate of noise - latents.
        """
        transformer = self.pipe.transformer
        batch = len(latents)
        embedded = None
        if transformer.config.guidance_embeds:
            value = self.config.guidance_scale if guidance is None else guidance
            embedded = torch.full((batch,), value, device=self.device)
        rows, columns = self.latent_grid
        return transformer(
            hidden_states=latents.to(self.dtype),
            timestep=sigma.to(self.device, self.dtype),
            guidance=embedded,
            pooled_projections=conditioning.pooled,
            encoder_hidden_states=conditioning.prompt_embeds,
            txt_ids=torch.zeros(conditioning.prompt_embeds.shape[1], 3, device=self.device),
            img_ids=self.pipe._prepare_latent_image_ids(
                batch, rows, columns, self.device, torch.float32
            ),
            return_dict=False,
        )[0]

    @property
    def latent_grid(self) -> tuple[int, int]:
        """Rows and columns of latent tokens at the recipe's image size."""
        patch = self.pipe.vae_scale_factor * 2
        return self.config.height // patch, self.config.width // patch

    @property
    def sigma_shift(self) -> float:
        """Shift s of the sampler's noise levels, sigma' = s*sigma / (1 + (s - 1)*sigma).

        FLUX's scheduler sets s = e^mu with mu linear in the number of image tokens
        (`calculate_shift` in diffusers); other schedulers hold a constant.
        """
        config = self.pipe.scheduler.config
        if not config.get("use_dynamic_shifting", False):
            return float(config.get("shift", 1.0))
        rows, columns = self.latent_grid
        low, high = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
        base, top = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
        return math.exp(base + (top - base) * (rows * columns - low) / (high - low))

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
        """Sample one picture per (prompt, seed) with the stock pipeline call.

        Each picture's noise comes from its own generator, so it does not depend on the batch.

        Returns:
            uint8, (batch, height, width, 3).
        """
        parts = []
        for start in range(0, len(prompts), batch_size):
            chunk = list(prompts[start : start + batch_size])
            generators = [
                torch.Generator().manual_seed(seed) for seed in seeds[start : start + batch_size]
            ]
            images = self.pipe(
                prompt=chunk,
                negative_prompt=[""] * len(chunk) if true_cfg_scale > 1 else None,
                true_cfg_scale=true_cfg_scale,
                height=self.config.height,
                width=self.config.width,
                num_inference_steps=steps,
                guidance_scale=self.config.guidance_scale,
                max_sequence_length=self.config.max_sequence_length,
                generator=generators,
                output_type="np",
            ).images
            parts.append((images * 255).round().astype(np.uint8))
            if on_progress:
                on_progress(min(start + batch_size, len(prompts)), len(prompts))
        return np.concatenate(parts)


FAMILIES: dict[type, type[FluxDenoiser]] = {FluxPipeline: FluxDenoiser}


def load_denoiser(config: ModelConfig) -> FluxDenoiser:
    """Load the recipe's pipeline and put it on its device.

    Raises:
        UserError: the directory is missing, is not a pipeline, holds a damaged weight file, is of
            a family without an adapter, or does not fit the recipe's image size.
    """
    check_model_path(config.path)
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    try:
        pipe = diffusers.DiffusionPipeline.from_pretrained(
            config.path,
            dtype=getattr(torch, config.dtype),
            trust_remote_code=config.trust_remote_code,
        )
    except (OSError, ValueError, SafetensorError, AttributeError) as error:
        raise UserError(
            f"cannot load the pipeline ({_one_line(error)})", where=f"model.path = {config.path}"
        ) from error
    family = FAMILIES.get(type(pipe))
    if family is None:
        known = ", ".join(kind.__name__ for kind in FAMILIES)
        raise UserError(
            f"{type(pipe).__name__} is not supported", where=config.path, mend=f"use {known}"
        )
    patch = pipe.vae_scale_factor * 2
    if config.height % patch or config.width % patch:
        raise UserError(
            f"{config.height} x {config.width} pixels are not multiples of {patch}",
            where="model.height, model.width",
        )
    return family(pipe.to(resolve_device(config.device)), config)


def check_model_path(path: str) -> None:
    """Refuse a local path that is missing, is no pipeline, or holds damaged safetensors.

    A name of the form "owner/name" that is no local folder is left to the hub.
    """
    folder = Path(path)
    if not folder.exists():
        if path.count("/") == 1 and not path.startswith((".", "/")) and not folder.parent.is_dir():
            return
        near = [str(p) for p in folder.parent.glob("*")] if folder.parent.is_dir() else []
        raise UserError(
            "no such model directory", where=f"model.path = {path}", mend=did_you_mean(path, near)
        )
    if not (folder / "model_index.json").exists():
        raise UserError(
            "not a diffusers pipeline: it has no model_index.json", where=f"model.path = {path}"
        )
    for file in sorted(folder.rglob("*.safetensors")):
        try:
            with safe_open(file, framework="pt"):
                pass
        except SafetensorError as error:
            raise UserError(
                f"damaged weight file ({_one_line(error)})", where=str(file), mend="fetch it again"
            ) from error


def resolve_device(name: str) -> torch.device:
    """ "auto" takes CUDA, then Apple's MPS, then the CPU."""
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
