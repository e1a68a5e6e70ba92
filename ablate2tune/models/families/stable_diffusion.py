"""Stable Diffusion 1.x, 2.x and XL."""

import torch
from torch import Tensor

from ablate2tune.models.denoiser import Denoiser
from ablate2tune.models.family_registry import serves
from ablate2tune.models.native_names import Native, unet_name


@serves("StableDiffusionPipeline")
class StableDiffusionDenoiser(Denoiser):
    """Stable Diffusion 1.x and 2.x: the transformer blocks inside the UNet."""

    part = "unet"
    comfyui = "lora_unet_"
    patch = 1

    def native(self, name: str) -> Native | None:
        """See `Denoiser.native`."""
        return Native(name)  # kohya's UNet of 1.x and 2.x has diffusers' names


@serves("StableDiffusionXLPipeline")
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

    def native(self, name: str) -> Native | None:
        """See `Denoiser.native`."""
        return unet_name(self.pipe.unet.config.layers_per_block, name)
