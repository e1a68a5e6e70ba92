"""FLUX.2 and FLUX.2 klein."""

from typing import Any

from torch import Tensor

from ablate2tune.models.conditioning import Conditioning, Tokenised
from ablate2tune.models.denoiser import Denoiser
from ablate2tune.models.family_registry import serves
from ablate2tune.models.native_names import FLUX, Native, native_name


@serves("Flux2KleinPipeline")
class Flux2KleinDenoiser(Denoiser):
    """FLUX.2 klein: patches of 2x2 latents, normalised by the VAE's batch norm; Qwen3's layers."""

    comfyui = "transformer."
    rounds_sigma = True

    def _tokenised(self, prompt: str) -> Tokenised:
        text = self.pipe.tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}],
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=False,
        )
        return super()._tokenised(prompt)._replace(text=text, padded=True)

    def _mu(self, tokens: int) -> float:
        """It depends on the number of sampling steps, here the call's default."""
        from diffusers.pipelines.flux2.pipeline_flux2 import compute_empirical_mu

        return compute_empirical_mu(tokens, self._defaults["num_inference_steps"])

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

    def native(self, name: str) -> Native | None:
        """See `Denoiser.native`."""
        return native_name(FLUX, self.model, name)


@serves("Flux2Pipeline")
class Flux2Denoiser(Flux2KleinDenoiser):
    """FLUX.2: as klein, with a guidance embedding and Mistral's layers under a system message."""

    def _tokenised(self, prompt: str) -> Tokenised:
        from diffusers.pipelines.flux2.pipeline_flux2 import format_input

        messages = format_input(prompts=[prompt], system_message=self.pipe.system_message)
        (text,) = self.pipe.tokenizer.apply_chat_template(messages, tokenize=False)
        tokenizer = getattr(self.pipe.tokenizer, "tokenizer", self.pipe.tokenizer)
        return Tokenised(tokenizer, text, self.max_sequence_length, padded=True)
