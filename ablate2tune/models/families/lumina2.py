"""Lumina-Image 2."""

from ablate2tune.models.conditioning import Tokenised
from ablate2tune.models.denoiser import MOVING, Denoiser
from ablate2tune.models.family_registry import serves


@serves("Lumina2Pipeline")
class Lumina2Denoiser(Denoiser):
    """Lumina-Image 2: the prompt stands after a system prompt; the picture follows the text."""

    encoded = ("prompt_embeds", "prompt_attention_mask")
    shifts_latents = True
    mean_obstacle = MOVING

    def _tokenised(self, prompt: str) -> Tokenised:
        text = f"{self.pipe.system_prompt} <Prompt Start> {prompt}"
        return super()._tokenised(prompt)._replace(text=text)
