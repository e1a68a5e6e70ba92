"""PixArt-alpha and PixArt-Sigma."""

from ablate2tune.models.denoiser import Denoiser
from ablate2tune.models.family_registry import serves


@serves("PixArtAlphaPipeline", "PixArtSigmaPipeline")
class PixArtDenoiser(Denoiser):
    """PixArt-alpha and PixArt-Sigma: masked T5; the predicted variance is dropped."""

    encoded = ("prompt_embeds", "prompt_attention_mask")
    comfyui = "transformer."
