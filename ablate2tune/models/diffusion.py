"""Adapters of families that predict epsilon or v on a discrete schedule (diffusers 0.42)."""

from typing import Any

import torch
from torch import Tensor, nn

from ablate2tune.models.conditioning import Conditioning
from ablate2tune.models.denoiser import Denoiser, Tokenised
from ablate2tune.models.one_step import encode_as_called


class PixArtDenoiser(Denoiser):
    """PixArt-alpha and PixArt-Sigma: masked T5; the predicted variance is dropped."""

    encoded = ("prompt_embeds", "prompt_attention_mask")


class HunyuanDiTDenoiser(Denoiser):
    """HunyuanDiT: BERT's tokens and T5's, each with its mask; the variance is dropped."""

    def _encode(self, prompts: list[str], among: list[str]) -> Conditioning:
        config: Any = self.model.config
        found = {}
        for index, length in enumerate((config.text_len, config.text_len_t5)):
            embeds, _, mask, _ = encode_as_called(
                self.pipe, prompts, max_sequence_length=length, text_encoder_index=index
            )
            suffix = "_2" if index else ""
            found |= {f"prompt_embeds{suffix}": embeds, f"prompt_attention_mask{suffix}": mask}
        return Conditioning.of(found)

    def _tokenised(self, prompt: str) -> Tokenised:
        return Tokenised(self.pipe.tokenizer, prompt, self.pipe.transformer.config.text_len)


class CogView3PlusDenoiser(Denoiser):
    """CogView3+: T5 without a mask; predicts v."""


class StableDiffusionDenoiser(Denoiser):
    """Stable Diffusion 1.x and 2.x: the transformer blocks inside the UNet."""

    patch = 1

    @property
    def model(self) -> nn.Module:
        """The UNet."""
        return self.pipe.unet


class StableDiffusionXLDenoiser(StableDiffusionDenoiser):
    """SDXL: two CLIPs, a pooled embedding, size embeddings."""

    encoded = ("prompt_embeds", "", "pooled_prompt_embeds")

    def _normalised(self, latents: Tensor) -> Tensor:
        config = self.pipe.vae.config
        mean, std = config.get("latents_mean"), config.get("latents_std")
        if mean is None or std is None:
            return super()._normalised(latents)
        mean, std = (torch.tensor(x).reshape(1, -1, 1, 1).to(latents) for x in (mean, std))
        return (latents - mean) * config.scaling_factor / std
