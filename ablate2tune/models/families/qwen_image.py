"""Qwen-Image."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from ablate2tune.models.calls.one_step import encode_as_called
from ablate2tune.models.conditioning import Conditioning, Tokenised
from ablate2tune.models.denoiser import Denoiser
from ablate2tune.models.family_registry import serves
from ablate2tune.models.native_names import Native


@serves("QwenImagePipeline")
class QwenImageDenoiser(Denoiser):
    """Qwen-Image: inside a chat template whose first tokens are dropped; a video's VAE."""

    encoded = ("prompt_embeds", "prompt_embeds_mask")
    comfyui = "transformer."
    unguided = None
    rounds_sigma = True

    def _encode(self, prompts: list[str], among: list[str]) -> Conditioning:
        """Padded to the recipe's length; the mask makes the padding neutral."""
        limit = self.max_sequence_length
        embeds, mask = encode_as_called(self.pipe, prompts, max_sequence_length=limit)
        if mask is None:
            mask = torch.ones(embeds.shape[:2], dtype=torch.long, device=embeds.device)
        missing = limit - embeds.shape[1]
        return Conditioning(
            pad(embeds, (0, 0, 0, missing)), None, {"prompt_embeds_mask": pad(mask, (0, missing))}
        )

    def _tokenised(self, prompt: str) -> Tokenised:
        dropped = self.pipe.prompt_template_encode_start_idx
        text = self.pipe.prompt_template_encode.format(prompt)
        return Tokenised(self.pipe.tokenizer, text, self.max_sequence_length + dropped, -dropped)

    def _posterior_mean(self, vae: Any, pixels: Tensor) -> Tensor:
        return super()._posterior_mean(vae, pixels.unsqueeze(2))

    def _normalised(self, latents: Tensor) -> Tensor:
        config = self.pipe.vae.config
        mean, std = (
            torch.tensor(values).reshape(1, -1, 1, 1, 1).to(latents)
            for values in (config.latents_mean, config.latents_std)
        )
        batch, channels, _, rows, columns = latents.shape
        return self.pipe._pack_latents((latents - mean) / std, batch, channels, rows, columns)

    def native(self, name: str) -> Native | None:
        """See `Denoiser.native`."""
        return Native(name)  # its own code is diffusers'
