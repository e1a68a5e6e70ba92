"""AuraFlow."""

from ablate2tune.models.denoiser import Denoiser
from ablate2tune.models.family_registry import serves


@serves("AuraFlowPipeline")
class AuraFlowDenoiser(Denoiser):
    """AuraFlow: masked T5 embeddings are zeros."""

    encoded = ("prompt_embeds", "prompt_attention_mask")
    comfyui = "transformer."
    single_timestep = 1 / 1000
    rounds_sigma = True
