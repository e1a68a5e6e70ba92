"""Sana."""

from typing import Any

from torch import Tensor

from ablate2tune.models.conditioning import Tokenised
from ablate2tune.models.denoiser import Denoiser
from ablate2tune.models.family_registry import serves


@serves("SanaPipeline")
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
