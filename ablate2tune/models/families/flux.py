"""FLUX.1, whose denoiser is called directly: training is spent here.

Follows `FluxPipeline` (diffusers 0.42): latents packed 2x2, timestep = sigma, text ids zero.
"""

import torch
from torch import Tensor

from ablate2tune.models.conditioning import Conditioning, Tokenised
from ablate2tune.models.denoiser import Denoiser
from ablate2tune.models.family_registry import serves
from ablate2tune.models.native_names import FLUX, Native, native_name


@serves("FluxPipeline")
class FluxDenoiser(Denoiser):
    """A `FluxPipeline` behind the interface that localize, train and compare use."""

    encoded = ("prompt_embeds", "pooled_prompt_embeds")
    comfyui = "transformer."
    pattern_network = "networks.lora_flux"
    shifts_latents = True
    rounds_sigma = True

    def _tokenised(self, prompt: str) -> Tokenised:
        return super()._tokenised(prompt)._replace(tokenizer=self.pipe.tokenizer_2)

    def _normalised(self, latents: Tensor) -> Tensor:
        latents = super()._normalised(latents)
        return self.pipe._pack_latents(latents, *latents.shape)

    def _predict(
        self, latents: Tensor, sigma: Tensor, conditioning: Conditioning, guidance: float | None
    ) -> Tensor:
        """By the denoiser itself, whose call is simple: rows of any noise levels at once."""
        transformer = self.pipe.transformer
        batch = len(latents)
        embedded = None
        if transformer.config.guidance_embeds:
            value = self.config.guidance_scale if guidance is None else guidance
            embedded = torch.full((batch,), value, device=self.device)
        rows, columns = self.latent_grid
        with torch.device(self.device):  # made there, since a CUDA graph admits no copy
            ids = self.pipe._prepare_latent_image_ids(
                batch, rows, columns, self.device, torch.float32
            )
        return transformer(
            hidden_states=latents.to(self.dtype),
            timestep=sigma.to(self.device, self.dtype),
            guidance=embedded,
            pooled_projections=conditioning.pooled,
            encoder_hidden_states=conditioning.prompt_embeds,
            txt_ids=torch.zeros(conditioning.prompt_embeds.shape[1], 3, device=self.device),
            img_ids=ids,
            return_dict=False,
        )[0]

    def native(self, name: str) -> Native | None:
        """See `Denoiser.native`."""
        return native_name(FLUX, self.model, name)
