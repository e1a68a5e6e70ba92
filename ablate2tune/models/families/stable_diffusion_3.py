"""Stable Diffusion 3 and 3.5."""

from ablate2tune.models.conditioning import Tokenised
from ablate2tune.models.denoiser import Denoiser
from ablate2tune.models.family_registry import serves
from ablate2tune.models.native_names import SD3, Native, native_name


@serves("StableDiffusion3Pipeline")
class StableDiffusion3Denoiser(Denoiser):
    """SD3 and SD3.5: CLIP's tokens stand before T5's."""

    encoded = ("prompt_embeds", "", "pooled_prompt_embeds")
    comfyui = "transformer."
    shifts_latents = True

    def _tokenised(self, prompt: str) -> Tokenised:
        clip = self.pipe.tokenizer_max_length
        tokenizer, limit = self.pipe.tokenizer_3, self.max_sequence_length
        if tokenizer is None:  # SD3 may be loaded without T5
            return Tokenised(self.pipe.tokenizer, prompt, clip)
        return Tokenised(tokenizer, prompt, limit, clip)

    def native(self, name: str) -> Native | None:
        """See `Denoiser.native`."""
        return native_name(SD3, self.model, name)
