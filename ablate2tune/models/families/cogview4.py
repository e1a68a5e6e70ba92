"""CogView4."""

from ablate2tune.models.conditioning import Conditioning
from ablate2tune.models.denoiser import Denoiser
from ablate2tune.models.family_registry import serves


@serves("CogView4Pipeline")
class CogView4Denoiser(Denoiser):
    """CogView4: GLM without a mask, padded on the left to the longest prompt of a batch."""

    encoded = ("prompt_embeds",)

    def _encode(self, prompts: list[str], among: list[str]) -> Conditioning:
        """Every batch holds the longest prompt, so that all are padded alike."""
        longest = max(among, key=lambda prompt: len(self.pipe.tokenizer(prompt).input_ids))
        return super()._encode([*prompts, longest], among)[: len(prompts)]

    def _mu(self, tokens: int) -> float:
        """It grows with the root of the number of tokens."""
        from diffusers.pipelines.cogview4.pipeline_cogview4 import calculate_shift

        config = self.pipe.scheduler.config
        keys = ("base_image_seq_len", "base_shift", "max_shift")
        return calculate_shift(tokens, *(config[key] for key in keys))

    def token_span(self, prompt: str, start: int, end: int) -> slice:
        """Counted from the end, since the padding stands in front."""
        span = super().token_span(prompt, start, end)
        tokens = self._tokenised(prompt)
        encoding = tokens.tokenizer(tokens.text, truncation=True, max_length=tokens.limit)
        length = len(encoding.input_ids)
        return slice(span.start - length, span.stop - length or None)
