"""Which adapter serves which pipeline class of diffusers."""

from ablate2tune.models import diffusion, flow
from ablate2tune.models.denoiser import Denoiser
from ablate2tune.models.flux import FluxDenoiser

FAMILIES: dict[str, type[Denoiser]] = {
    "FluxPipeline": FluxDenoiser,
    "Flux2Pipeline": flow.Flux2Denoiser,
    "Flux2KleinPipeline": flow.Flux2KleinDenoiser,
    "StableDiffusion3Pipeline": flow.StableDiffusion3Denoiser,
    "AuraFlowPipeline": flow.AuraFlowDenoiser,
    "ChromaPipeline": flow.ChromaDenoiser,
    "CogView4Pipeline": flow.CogView4Denoiser,
    "Lumina2Pipeline": flow.Lumina2Denoiser,
    "QwenImagePipeline": flow.QwenImageDenoiser,
    "SanaPipeline": flow.SanaDenoiser,
    "ZImagePipeline": flow.ZImageDenoiser,
    "PixArtAlphaPipeline": diffusion.PixArtDenoiser,
    "PixArtSigmaPipeline": diffusion.PixArtDenoiser,
    "HunyuanDiTPipeline": diffusion.HunyuanDiTDenoiser,
    "CogView3PlusPipeline": diffusion.CogView3PlusDenoiser,
    "StableDiffusionPipeline": diffusion.StableDiffusionDenoiser,
    "StableDiffusionXLPipeline": diffusion.StableDiffusionXLDenoiser,
}
"""Adapters by the name of the pipeline class."""
