"""Phrases of a caption: which of its tokens name the relation, the subject and the object.

The masks serve addresses such as `transformer_blocks.3@tokens=relation`.
"""

import re
import sys
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from ablate2tune.errors import UserError
from ablate2tune.localize.margins.examples import Examples
from ablate2tune.models import Denoiser
from ablate2tune.scenes.dataset.records import SceneRecord
from ablate2tune.scenes.vocabulary import CONTRAST

Phrase = Literal["relation", "subject", "object"]


def phrase_spans(text: str, relations: Sequence[str]) -> dict[Phrase, tuple[int, int]]:
    """Characters [start, end) of the phrases of a caption "SUBJECT RELATION OBJECT".

    >>> phrase_spans("a cat behind a red chair", ["behind", "in front of"])
    {'relation': (6, 12), 'subject': (0, 5), 'object': (13, 24)}

    Args:
        text: the caption.
        relations: how the relation may be worded; the first of them in the caption counts.

    Raises:
        UserError: none of them is in the caption, or nothing stands before or after it.
    """
    words = "|".join(map(re.escape, sorted(relations, key=len, reverse=True)))
    match = re.search(rf"\S\s+\b({words})\b\s+\S", text)
    if match is None:
        raise UserError(
            f"no {' or '.join(map(repr, relations))} between two phrases",
            where=f"caption {text!r}",
            mend="leave localize.tokens out, or write captions as SUBJECT RELATION OBJECT",
        )
    start, end = match.span(1)
    before, after = text[:start].rstrip(), text[end:]
    return {
        "relation": (start, end),
        "subject": (len(before) - len(before.lstrip()), len(before)),
        "object": (len(text) - len(after.lstrip()), len(text.rstrip())),
    }


def token_masks(
    denoiser: Denoiser,
    examples: Examples,
    records: Sequence[SceneRecord],
    phrases: Sequence[Phrase],
) -> dict[Phrase, Tensor]:
    """Which text positions hold each phrase, for every distinct caption of the examples.

    Args:
        denoiser: finds a phrase's tokens (`token_span`).
        examples: the encoded records.
        records: in the order of the examples.
        phrases: which masks to make.

    Returns:
        Bool, (distinct captions, text tokens), by phrase.

    Raises:
        UserError: a caption is not of the form SUBJECT RELATION OBJECT, or is longer than the
            text encoder takes.
    """
    embeds = examples.conditioning.prompt_embeds
    masks: dict[Phrase, Tensor] = {
        phrase: torch.zeros(embeds.shape[:2], dtype=torch.bool) for phrase in phrases
    }
    for i, record in enumerate(records):
        relations = [record.relation, CONTRAST.get(record.relation, record.relation)]
        for row, text in (
            (examples.caption[i], record.text),
            (examples.foil[i], record.foil),
            (examples.control[i], record.foil_colour),
        ):
            spans = phrase_spans(text, relations)
            for phrase, mask in masks.items():
                mask[row, denoiser.token_span(text, *spans[phrase])] = True
    return {phrase: mask.to(embeds.device) for phrase, mask in masks.items()}


def of_equal_length(denoiser: Denoiser, records: Sequence[SceneRecord]) -> list[SceneRecord]:
    """The scenes of contrast groups whose captions and foils all have equally many tokens.

    Only between such captions can activations be exchanged position by position: "left of" and
    "right of", but not "behind" and "in front of".

    Raises:
        UserError: there is none, or a caption is longer than the text encoder takes.
    """
    counts: dict[str, int] = {}

    def count(text: str) -> int:
        if text not in counts:
            span = denoiser.token_span(text, 0, len(text))
            counts[text] = len(range(*span.indices(sys.maxsize)))
        return counts[text]

    differing = {
        record.group_id
        for record in records
        if len({count(text) for text in (record.text, record.foil, record.foil_colour)}) > 1
    }
    kept = [record for record in records if record.group_id not in differing]
    if records and not kept:
        raise UserError(
            f"in all {len(differing)} contrast groups the foils have other numbers of tokens than "
            "the captions, so that activations cannot be exchanged position by position",
            where="localize.mode = patch",
            mend="set localize.mode=mean, or render relations whose names are equally long",
        )
    return kept
