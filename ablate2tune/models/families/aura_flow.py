"""AuraFlow."""

from ablate2tune.models.denoiser import ONE_TIMESTEP, Denoiser
from ablate2tune.models.family_registry import serves


@serves("AuraFlowPipeline")
class AuraFlowDenoiser(Denoiser):
    """AuraFlow: masked T5 embeddings are zeros."""

    encoded = ("prompt_embeds", "prompt_attention_mask")
    levels_obstacle = ONE_TIMESTEP
    rounds_sigma = True
