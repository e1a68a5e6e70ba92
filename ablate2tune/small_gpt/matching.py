"""A width at which a small GPT costs as much as another one: at equal parameters, or FLOPs."""

import torch

from ablate2tune.small_gpt.gpt_config import GptConfig
from ablate2tune.small_gpt.gpt_model import SmallGpt, flops_per_byte, parameter_counts

WIDEST = 8
"""Times the other's width at most."""


def matched(config: GptConfig, like: GptConfig) -> GptConfig:
    """The same choices at the width that comes nearest to `like`, by what `config.match` says.

    Widths are the multiples of the number of heads; parameters are those outside the embeddings,
    FLOPs those of a training step per byte. Where the two differ in width that is what is varied,
    and nothing is matched.
    """
    if config.match == "none" or config.width != like.width:
        return config.model_copy(update={"match": "none"})
    wanted = _cost(like, config.match)
    widths = range(config.heads, WIDEST * like.width + 1, config.heads)
    kept = (config.model_copy(update={"width": width, "match": "none"}) for width in widths)
    return min(kept, key=lambda one: abs(_cost(one, config.match) - wanted))


def _cost(config: GptConfig, by: str) -> int:
    with torch.device("meta"):
        model = SmallGpt(config, 0, empty=True)
    return flops_per_byte(model, config) if by == "flops" else parameter_counts(model)[1]
