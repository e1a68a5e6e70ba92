"""Z-Image."""

from typing import Any

import torch
from torch.nn.functional import pad

from ablate2tune.models.calls.one_step import encode_as_called
from ablate2tune.models.conditioning import Conditioning, Tokenised
from ablate2tune.models.denoiser import MOVING, Denoiser
from ablate2tune.models.family_registry import serves


@serves("ZImagePipeline")
class ZImageDenoiser(Denoiser):
    """Z-Image: prompts inside a chat template, of different lengths."""

    shifts_latents = True
    comfyui = "transformer."
    unguided = 0.0
    mean_obstacle = MOVING
    latents_dtype = torch.float32

    def _encode(self, prompts: list[str], among: list[str]) -> Conditioning:
        """Padded with zeros under a mask; the call is given the rows without padding."""
        limit = self.max_sequence_length
        rows, _ = encode_as_called(self.pipe, prompts, max_sequence_length=limit)
        embeds = torch.stack([pad(row, (0, 0, 0, limit - len(row))) for row in rows])
        lengths = torch.tensor([len(row) for row in rows], device=embeds.device)
        mask = torch.arange(limit, device=embeds.device)[None] < lengths[:, None]
        return Conditioning(embeds, None, {"prompt_embeds_mask": mask})

    def _conditioning_arguments(self, conditioning: Conditioning) -> dict[str, Any]:
        rows = range(len(conditioning))
        return {"prompt_embeds": [conditioning.tokens(row) for row in rows]}

    def _tokenised(self, prompt: str) -> Tokenised:
        text = self.pipe.tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}],
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=True,
        )
        return super()._tokenised(prompt)._replace(text=text)
