"""What is run for the information curve: each picture under four captions, and what to ask.

A caption states a relation and names one object as the subject. Each picture is run under all four
combinations (its own relation or the opposite one, its own subject or the exchanged one), so that
the picture tells nothing of what its caption says, the words of a caption nothing of the role, and
the caption nothing of what the picture shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ablate2tune.localize.findings.information import split_caption
from ablate2tune.scenes.dataset.records import SceneRecord

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

    record: int
    """The picture's place among the records."""
    text: str
    phrases: tuple[tuple[int, int], tuple[int, int]]
    """Characters [start, end) of subject and object in the caption, without their articles."""
    stated: bool
    """Whether the caption states the alphabetically first relation of the pair."""
    shown: bool
    """Whether the picture shows it."""
    role: bool
    """Whether the subject is the alphabetically first object."""
    group: str


def caption_runs(records: Sequence[SceneRecord]) -> list[Run]:
    """Four runs for each picture; none where the foil has the same relation or both objects are
    called alike.

    Raises:
        UserError: a caption states no relation.
    """
    runs: list[Run] = []
    for place, record in enumerate(records):
        first, relation, second, rest = split_caption(record.text, record.scene_id)
        opposite = split_caption(record.foil, record.scene_id)[1]
        if relation == opposite or _name(first) == _name(second):
            continue
        for one, other in ((first, second), (second, first)):
            for stated in (relation, opposite):
                start = len(f"{one} {stated} ")
                runs.append(
                    Run(
                        record=place,
                        text=f"{one} {stated} {other}{rest}",
                        phrases=(_noun(one, 0), _noun(other, start)),
                        stated=stated < max(relation, opposite),
                        shown=relation < opposite,
                        role=_name(one) < _name(other),
                        group=record.group_id,
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


def _noun(phrase: str, start: int) -> tuple[int, int]:
    return start + phrase.index(" ") + 1, start + len(phrase)


def _name(phrase: str) -> list[str]:
    """Words of a phrase without its article, the last, an object's kind, first."""
    return phrase.split()[:0:-1]
