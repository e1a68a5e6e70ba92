"""HunyuanDiT."""

from typing import Any

from ablate2tune.models.calls.one_step import encode_as_called
from ablate2tune.models.conditioning import Conditioning, Tokenised
from ablate2tune.models.denoiser import Denoiser
from ablate2tune.models.family_registry import serves


@serves("HunyuanDiTPipeline")
class HunyuanDiTDenoiser(Denoiser):
    """HunyuanDiT: BERT's tokens and T5's, each with its mask; the variance is dropped."""

    single_timestep = 1.0

    def _encode(self, prompts: list[str], among: list[str]) -> Conditioning:
        config: Any = self.model.config
        found = {}
        for index, length in enumerate((config.text_len, config.text_len_t5)):
            embeds, _, mask, _ = encode_as_called(
                self.pipe, prompts, max_sequence_length=length, text_encoder_index=index
            )
            suffix = "_2" if index else ""
            found |= {f"prompt_embeds{suffix}": embeds, f"prompt_attention_mask{suffix}": mask}
        return Conditioning.of(found)

    def _tokenised(self, prompt: str) -> Tokenised:
        return Tokenised(self.pipe.tokenizer, prompt, self.pipe.transformer.config.text_len)
