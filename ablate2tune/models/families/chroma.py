"""Chroma."""

from torch import Tensor

from ablate2tune.models.denoiser import Denoiser
from ablate2tune.models.family_registry import serves
from ablate2tune.models.native_names import FLUX, Native, native_name


@serves("ChromaPipeline")
class ChromaDenoiser(Denoiser):
    """Chroma: FLUX without a pooled embedding, with a mask over the text."""

    encoded = ("prompt_embeds", "", "prompt_attention_mask")
    comfyui = "transformer."
    pattern_network = "networks.lora_flux"
    shifts_latents = True
    rounds_sigma = True

    def _normalised(self, latents: Tensor) -> Tensor:
        latents = super()._normalised(latents)
        return self.pipe._pack_latents(latents, *latents.shape)

    def native(self, name: str) -> Native | None:
        """See `Denoiser.native`."""
        return native_name(FLUX, self.model, name)
