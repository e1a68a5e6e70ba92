"""A causal language model of `transformers` behind the interface of the stages."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ablate2tune.errors import UserError
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.models.studied import Studied


class LanguageModel(Studied):
    """A causal language model with its tokenizer; in eval mode and frozen."""

    def __init__(self, model: Any, tokenizer: Any, config: ModelConfig):
        """Wrap what `load_language_model` loaded."""
        self._model, self.tokenizer, self.config = model, tokenizer, config
        model.requires_grad_(False).eval()

    @property
    def model(self) -> nn.Module:
        """The causal language model."""
        return self._model

    @property
    def parts(self) -> dict[str, nn.Module]:
        """The model alone; the tokenizer holds no weights."""
        return {"model": self._model}

    @property
    def carrier(self) -> tuple[Any, str]:
        """This itself and its model: adapters are in PEFT's own format."""
        return self, "model"

    @property
    def vocabulary(self) -> int:
        """Tokens that the head tells apart."""
        return int(self._model.config.get_text_config().vocab_size)

    def logits(self, ids: Tensor) -> Tensor:
        """Next-token logits, (rows, tokens, vocabulary), of token numbers, (rows, tokens).

        Without a cache and without a mask: rows are padded on the right, if at all, where a causal
        model does not look.
        """
        return self._model(input_ids=ids.to(self.device), use_cache=False).logits

    def encode(self, text: str, special: bool = True) -> list[int]:
        """A text's token numbers; with `special`, after the tokens that every text begins with."""
        plain = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return [*(self.beginning if special else ()), *plain]

    def tokens_at(self, text: str, start: int, end: int) -> list[int]:
        """Places among `encode(text)` of the tokens that hold any of the characters [start, end).

        Raises:
            UserError: the tokenizer does not tell its tokens' characters.
        """
        if not self.tokenizer.is_fast:
            raise UserError(
                "its tokenizer does not tell which characters a token holds",
                where=f"model.path = {self.config.path}",
                mend="leave localize.tokens out",
            )
        encoding = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        first = len(self.beginning)
        return [
            first + place
            for place, (left, right) in enumerate(encoding["offset_mapping"])
            if left < end and right > start
        ]

    @property
    def beginning(self) -> list[int]:
        """The tokens that the tokenizer puts before every text: its BOS, or none."""
        whole = self.tokenizer("a")["input_ids"]
        plain = self.tokenizer("a", add_special_tokens=False)["input_ids"]
        places = range(len(whole) - len(plain) + 1)
        return list(next((whole[:i] for i in places if whole[i : i + len(plain)] == plain), []))

    @torch.no_grad()
    def generate(self, prompts: Sequence[str], most: int, cache: bool = True) -> list[str]:
        """Greedy continuations of at most `most` tokens each, the prompts left out.

        Raises:
            UserError: a prompt holds no token.
        """
        found = []
        for prompt in prompts:
            ids = torch.tensor([self.encode(prompt)], device=self.device)
            if not ids.numel():
                raise UserError("the prompt is empty", where="--prompt", mend="write some words")
            out = self._model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=most,
                do_sample=False,
                num_beams=1,
                use_cache=cache,
                pad_token_id=self._padding,
            )
            found.append(self.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True))
        return found

    @property
    def _padding(self) -> int:
        pad, eos = self.tokenizer.pad_token_id, self.tokenizer.eos_token_id
        return next((int(number) for number in (pad, eos) if number is not None), 0)
