"""Phrases of a text: which of its tokens hold the named ones.

The masks serve addresses such as `transformer_blocks.3@tokens=relation`.
"""

import sys
from collections.abc import Sequence

import torch
from torch import Tensor

from ablate2tune.contrasts.contrast import Contrast
from ablate2tune.errors import UserError
from ablate2tune.localize.margins.encoded_examples import Examples
from ablate2tune.models import Denoiser


def token_masks(
    denoiser: Denoiser,
    examples: Examples,
    contrasts: Sequence[Contrast],
    phrases: Sequence[str],
) -> dict[str, Tensor]:
    """Which text positions hold each phrase, for every distinct text of the examples.

    Args:
        denoiser: finds a phrase's tokens (`token_span`).
        examples: the encoded contrasts.
        contrasts: in the order of the examples.
        phrases: which masks to make.

    Returns:
        Bool, (distinct texts, text tokens), by phrase.

    Raises:
        UserError: a text has no phrase of that name, or is longer than the text encoder takes.
    """
    embeds = examples.conditioning.prompt_embeds
    masks = {phrase: torch.zeros(embeds.shape[:2], dtype=torch.bool) for phrase in phrases}
    for place, contrast in enumerate(contrasts):
        for role, text in contrast.texts.items():
            spans = contrast.spans.get(role, {})
            for phrase, mask in masks.items():
                if phrase not in spans:
                    named = f"it names {', '.join(spans)}" if spans else "it names none"
                    raise UserError(
                        f"the {role} text names no phrase {phrase!r} ({named})",
                        where=f"example {contrast.id}",
                        mend="leave it out of localize.tokens, or give its place in `spans`",
                    )
                mask[examples.rows[role][place], denoiser.token_span(text, *spans[phrase])] = True
    return {phrase: mask.to(embeds.device) for phrase, mask in masks.items()}


def of_equal_length(denoiser: Denoiser, contrasts: Sequence[Contrast]) -> list[Contrast]:
    """The examples of clusters whose texts all have equally many tokens.

    Only between such texts can activations be exchanged position by position: "left of" and
    "right of", but not "behind" and "in front of".

    Raises:
        UserError: there is none, or a text is longer than the text encoder takes.
    """
    counts: dict[str, int] = {}

    def count(text: str) -> int:
        if text not in counts:
            span = denoiser.token_span(text, 0, len(text))
            counts[text] = len(range(*span.indices(sys.maxsize)))
        return counts[text]

    differing = {c.cluster for c in contrasts if len(set(map(count, c.texts.values()))) > 1}
    kept = [contrast for contrast in contrasts if contrast.cluster not in differing]
    if contrasts and not kept:
        raise UserError(
            f"in all {len(differing)} contrast groups the foils have other numbers of tokens than "
            "the captions, so that activations cannot be exchanged position by position",
            where="localize.mode = patch",
            mend="set localize.mode=mean, or use foils that are as long as the captions",
        )
    return kept
