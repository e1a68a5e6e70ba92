"""What is run for the information curve: each picture under four captions, and what to ask.

A caption states a relation and names one object as the subject. Each picture is run under all four
combinations (its own relation or the opposite one, its own subject or the exchanged one), so that
the picture tells nothing of what its caption says, the words of a caption nothing of the role, and
the caption nothing of what the picture shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ablate2tune.contrasts.contrast import Contrast, Span
from ablate2tune.contrasts.phrases import exchanged, without_article

STATED, SHOWN, ROLE = "relation stated", "relation shown", "role"
QUESTIONS = {
    STATED: "which relation of its pair the caption states",
    SHOWN: "which relation of its pair the picture shows, whatever the caption says",
    ROLE: "text: whether a phrase is the caption's subject or its object, from the phrase's own "
    "tokens; other streams: whether the subject is the alphabetically first of the two objects",
}


@dataclass(frozen=True)
class Run:
    """One picture under one caption."""

    example: int
    """The picture's place among the examples."""
    text: str
    phrases: tuple[Span, Span]
    """Characters [start, end) of subject and object in the caption, without their articles."""
    stated: bool
    """Whether the caption states the alphabetically first relation of the pair."""
    shown: bool
    """Whether the picture shows it."""
    role: bool
    """Whether the subject is the alphabetically first object."""
    group: str


def caption_runs(contrasts: Sequence[Contrast]) -> list[Run]:
    """Four runs for each picture; none where a text names no relation, subject and object, the
    foil has the same relation, or both objects are called alike.
    """
    runs: list[Run] = []
    for place, contrast in enumerate(contrasts):
        relation, opposite = contrast.phrase("relation"), contrast.phrase("relation", "target")
        first, second = contrast.phrase("subject"), contrast.phrase("object")
        if relation is None or opposite is None or first is None or second is None:
            continue
        if relation == opposite or _name(first) == _name(second):
            continue
        own, foil = ((contrast.texts[role], contrast.spans[role]) for role in ("true", "target"))
        for turn in (False, True):
            for stated, (text, spans) in ((relation, own), (opposite, foil)):
                if turn:
                    text, spans = exchanged(text, spans, "subject", "object")
                subject, object_ = (
                    without_article(text, spans[name]) for name in ("subject", "object")
                )
                runs.append(
                    Run(
                        example=place,
                        text=text,
                        phrases=(subject, object_),
                        stated=stated < max(relation, opposite),
                        shown=relation < opposite,
                        role=_name(text[slice(*spans["subject"])])
                        < _name(text[slice(*spans["object"])]),
                        group=contrast.cluster,
                    )
                )
    return runs


def answers(runs: Sequence[Run], questions: Sequence[str]) -> np.ndarray:
    """What is right: 1 or -1, (n, questions)."""
    facts = {
        STATED: [run.stated for run in runs],
        SHOWN: [run.shown for run in runs],
        ROLE: [run.role for run in runs],
    }
    return np.stack([np.where(facts[question], 1.0, -1.0) for question in questions], axis=1)


def _name(phrase: str) -> list[str]:
    """Words of a phrase without its article, the last, an object's kind, first."""
    start, end = without_article(phrase, (0, len(phrase)))
    return phrase[start:end].split()[::-1]
