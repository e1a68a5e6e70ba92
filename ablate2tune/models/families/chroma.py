"""Chroma."""

from torch import Tensor

from ablate2tune.models.denoiser import Denoiser
from ablate2tune.models.family_registry import serves


@serves("ChromaPipeline")
class ChromaDenoiser(Denoiser):
    """Chroma: FLUX without a pooled embedding, with a mask over the text."""

    encoded = ("prompt_embeds", "", "prompt_attention_mask")
    shifts_latents = True
    rounds_sigma = True

    def _normalised(self, latents: Tensor) -> Tensor:
        latents = super()._normalised(latents)
        return self.pipe._pack_latents(latents, *latents.shape)
