"""Adapters of families trained by flow matching (diffusers 0.42); FLUX.1 has a file of its own."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from ablate2tune.models.conditioning import Conditioning
from ablate2tune.models.denoiser import Denoiser, Tokenised
from ablate2tune.models.one_step import encode_as_called

MOVING = "a picture token's position depends on the prompt's length"


class StableDiffusion3Denoiser(Denoiser):
    """SD3 and SD3.5: CLIP's tokens stand before T5's."""

    encoded = ("prompt_embeds", "", "pooled_prompt_embeds")
    shifts_latents = True

    def _tokenised(self, prompt: str) -> Tokenised:
        clip = self.pipe.tokenizer_max_length
        tokenizer, limit = self.pipe.tokenizer_3, self.max_sequence_length
        if tokenizer is None:  # SD3 may be loaded without T5
            return Tokenised(self.pipe.tokenizer, prompt, clip)
        return Tokenised(tokenizer, prompt, limit, clip)


class AuraFlowDenoiser(Denoiser):
    """AuraFlow: masked T5 embeddings are zeros."""

    encoded = ("prompt_embeds", "prompt_attention_mask")


class Lumina2Denoiser(Denoiser):
    """Lumina-Image 2: the prompt stands after a system prompt; the picture follows the text."""

    encoded = ("prompt_embeds", "prompt_attention_mask")
    shifts_latents = True
    mean_obstacle = MOVING

    def _tokenised(self, prompt: str) -> Tokenised:
        text = f"{self.pipe.system_prompt} <Prompt Start> {prompt}"
        return super()._tokenised(prompt)._replace(text=text)


class QwenImageDenoiser(Denoiser):
    """Qwen-Image: inside a chat template whose first tokens are dropped; a video's VAE."""

    encoded = ("prompt_embeds", "prompt_embeds_mask")
    unguided = None

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


class SanaDenoiser(Denoiser):
    """Sana: the prompt stands after an instruction, whose tokens but the first are dropped."""

    encoded = ("prompt_embeds", "prompt_attention_mask")
    patch = 1

    def _tokenised(self, prompt: str) -> Tokenised:
        tokenizer, limit = self.pipe.tokenizer, self.max_sequence_length
        lines = self._defaults["complex_human_instruction"]
        instruction = "\n".join(lines)
        dropped = len(tokenizer.encode(instruction)) - 2
        return Tokenised(tokenizer, instruction + prompt, limit + dropped, -dropped)

    def _posterior_mean(self, vae: Any, pixels: Tensor) -> Tensor:
        return vae.encode(pixels).latent


class ChromaDenoiser(Denoiser):
    """Chroma: FLUX without a pooled embedding, with a mask over the text."""

    encoded = ("prompt_embeds", "", "prompt_attention_mask")
    shifts_latents = True

    def _normalised(self, latents: Tensor) -> Tensor:
        latents = super()._normalised(latents)
        return self.pipe._pack_latents(latents, *latents.shape)


class CogView4Denoiser(Denoiser):
    """CogView4: GLM without a mask, padded on the left to the longest prompt of a batch."""

    encoded = ("prompt_embeds",)

    def _encode(self, prompts: list[str], among: list[str]) -> Conditioning:
        """Every batch holds the longest prompt, so that all are padded alike."""
        longest = max(among, key=lambda prompt: len(self.pipe.tokenizer(prompt).input_ids))
        return super()._encode([*prompts, longest], among)[: len(prompts)]

    def token_span(self, prompt: str, start: int, end: int) -> slice:
        """Counted from the end, since the padding stands in front."""
        span = super().token_span(prompt, start, end)
        tokens = self._tokenised(prompt)
        encoding = tokens.tokenizer(tokens.text, truncation=True, max_length=tokens.limit)
        length = len(encoding.input_ids)
        return slice(span.start - length, span.stop - length or None)


class ZImageDenoiser(Denoiser):
    """Z-Image: prompts inside a chat template, of different lengths."""

    shifts_latents = True
    unguided = 0.0
    mean_obstacle = MOVING
    latents_dtype = torch.float32

    def _encode(self, prompts: list[str], among: list[str]) -> Conditioning:
        """Padded with zeros under a mask; the call is given the rows without padding."""
        limit = self.max_sequence_length
        rows, _ = encode_as_called(self.pipe, prompts, max_sequence_length=limit)
        embeds = torch.stack([pad(row, (0, 0, 0, limit - len(row))) for row in rows])
        lengths = torch.tensor([len(row) for row in rows], device=embeds.device)
        mask = torch.arange(limit, device=embeds.device)[None] < lengths[:, None]
        return Conditioning(embeds, None, {"prompt_embeds_mask": mask})

    def _conditioning_arguments(self, conditioning: Conditioning) -> dict[str, Any]:
        rows = range(len(conditioning))
        return {"prompt_embeds": [conditioning.tokens(row) for row in rows]}

    def _tokenised(self, prompt: str) -> Tokenised:
        text = self.pipe.tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}],
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=True,
        )
        return super()._tokenised(prompt)._replace(text=text)


class Flux2KleinDenoiser(Denoiser):
    """FLUX.2 klein: patches of 2x2 latents, normalised by the VAE's batch norm; Qwen3's layers."""

    def _tokenised(self, prompt: str) -> Tokenised:
        text = self.pipe.tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}],
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=False,
        )
        return super()._tokenised(prompt)._replace(text=text, padded=True)

    def _posterior_mean(self, vae: Any, pixels: Tensor) -> Tensor:
        return self.pipe._encode_vae_image(pixels, generator=None)

    def _normalised(self, latents: Tensor) -> Tensor:
        return latents  # `_encode_vae_image` did it

    def _predict_at(
        self, latents: Tensor, sigma: Tensor, conditioning: Conditioning, guidance: float | None
    ) -> Tensor:
        """The call takes patches in rows and columns, and predicts them in one row."""
        tokens = super()._predict_at(latents, sigma, conditioning, guidance)
        return tokens.transpose(1, 2).reshape(latents.shape)


class Flux2Denoiser(Flux2KleinDenoiser):
    """FLUX.2: as klein, with a guidance embedding and Mistral's layers under a system message."""

    def _tokenised(self, prompt: str) -> Tokenised:
        from diffusers.pipelines.flux2.pipeline_flux2 import format_input

        messages = format_input(prompts=[prompt], system_message=self.pipe.system_message)
        (text,) = self.pipe.tokenizer.apply_chat_template(messages, tokenize=False)
        tokenizer = getattr(self.pipe.tokenizer, "tokenizer", self.pipe.tokenizer)
        return Tokenised(tokenizer, text, self.max_sequence_length, padded=True)
