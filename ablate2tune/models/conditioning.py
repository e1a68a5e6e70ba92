"""What a denoiser is told about prompts, one row per prompt, for any family."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

MASKS = ("prompt_attention_mask", "prompt_embeds_mask")
"""Names under which pipelines take the mask of the token embeddings."""


class Tokenised(NamedTuple):
    """How a family turns a prompt into the tokens whose embeddings the denoiser is given."""

    tokenizer: Any
    text: str
    """What is tokenised: the prompt, perhaps inside a template."""
    limit: int
    """Tokens that the text is cut to."""
    offset: int = 0
    """Row of the first token among the prompt's embeddings; negative where rows are dropped."""
    padded: bool = False
    """Whether padding is kept, perhaps on the left."""


@dataclass(frozen=True)
class Conditioning:
    """What the denoiser is told about the prompts, one row per prompt."""

    prompt_embeds: Tensor
    """Token embeddings, (batch, text tokens, channels)."""
    pooled: Tensor | None = None
    """Pooled embedding, (batch, channels); None for families without one."""
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    """What else the pipeline takes about the prompts, by the names of its call's arguments: masks,
    the embeddings of a second encoder; (batch, ...) each."""

    def __len__(self) -> int:
        return len(self.prompt_embeds)

    def __getitem__(self, index: slice | Tensor | list[int]) -> "Conditioning":
        return self._map(lambda tensor: tensor[index])

    @property
    def device(self) -> torch.device:
        """Where the tensors lie."""
        return self.prompt_embeds.device

    @property
    def mask(self) -> Tensor | None:
        """Which token embeddings are not padding, bool (batch, text tokens), where that is told."""
        found = [self.extra[name] for name in MASKS if name in self.extra]
        if not found:
            return None
        # AuraFlow repeats the mask over the channels.
        return found[0].reshape(*self.prompt_embeds.shape[:2], -1)[..., 0].bool()

    def to(self, device: torch.device) -> "Conditioning":
        """The same on another device."""
        return self._map(lambda tensor: tensor.to(device))

    def tokens(self, row: int) -> Tensor:
        """A prompt's token embeddings without masked padding, (tokens, channels)."""
        mask = self.mask
        embeds = self.prompt_embeds[row]
        return embeds if mask is None else embeds[mask[row]]

    def arguments(self) -> dict[str, Tensor]:
        """The tensors by the names under which the stock pipelines' calls take them."""
        pooled = {} if self.pooled is None else {"pooled_prompt_embeds": self.pooled}
        return {"prompt_embeds": self.prompt_embeds, **pooled, **self.extra}

    @staticmethod
    def of(arguments: Mapping[str, Tensor]) -> "Conditioning":
        """From tensors by the names under which the stock pipelines' calls take them."""
        extra = dict(arguments)
        embeds, pooled = extra.pop("prompt_embeds"), extra.pop("pooled_prompt_embeds", None)
        return Conditioning(embeds, pooled, extra)

    @staticmethod
    def cat(parts: Sequence["Conditioning"]) -> "Conditioning":
        """Join rows; all parts come from one family and have equally many text tokens."""
        columns = [part.arguments() for part in parts]
        return Conditioning.of(
            {name: torch.cat([column[name] for column in columns]) for name in columns[0]}
        )

    def _map(self, change: Callable[[Tensor], Tensor]) -> "Conditioning":
        return Conditioning.of({name: change(x) for name, x in self.arguments().items()})
