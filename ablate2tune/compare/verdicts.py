"""Verdicts: whether one image shows what its prompt says."""

from dataclasses import dataclass

from ablate2tune.compare.prompts import Prompt
from ablate2tune.compare.relation_reading import Detection, read_relation


@dataclass(frozen=True)
class Verdict:
    """What a judge's detections say about one image and its prompt."""

    subject_found: bool
    """The subject is there in the right colour and kind."""
    object_found: bool
    """The same for the object."""
    objects: bool
    """Both are there."""
    relation_read: str | None
    """The relation of the largest such subject to the largest such object; None: ambiguous, or one
    of them is missing."""
    relation_right: bool | None
    """It is the prompt's relation; None for a prompt without one."""
    spatial: bool | None
    """Objects and relation are right; None for a prompt without a relation."""
    extra: int
    """Detections beyond one subject and one object: other things and duplicates."""


def give_verdict(prompt: Prompt, found: list[Detection]) -> Verdict:
    """Judge one image's detections (largest first) against its prompt."""
    subject = _first(found, prompt.subject_label)
    object_ = _first(found, prompt.object_label)
    read = read_relation(subject, object_) if subject and object_ else None
    right = None if prompt.relation is None else read == prompt.relation
    return Verdict(
        subject_found=subject is not None,
        object_found=object_ is not None,
        objects=subject is not None and object_ is not None,
        relation_read=read,
        relation_right=right,
        spatial=right,
        extra=len(found) - (subject is not None) - (object_ is not None),
    )


def _first(found: list[Detection], label: str) -> Detection | None:
    return next((detection for detection in found if detection.label == label), None)
