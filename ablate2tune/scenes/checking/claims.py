"""What a caption claims of the objects in its picture, read from its words."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ablate2tune.scenes.checking.proof import RELATIONS

OWN_FRAME = re.compile(r" from the ([^']+)'s point of view$")
CAMERA_FRAME = " as seen in the picture"
NEXT = re.compile(r" and (?=an? )")
"""Between two things; within one there is no article ("an orange and white ball")."""
RELATION = re.compile(rf" ({'|'.join(sorted(RELATIONS, key=len, reverse=True))}) ")


class Claim(NamedTuple):
    """A relation between labelled objects of a picture."""

    relation: str
    labels: tuple[str, ...]
    """Subject, object and, for "between", the third."""
    frame: str = "camera"
    """ "object": by the object's own front."""


def read_claim(text: str, objects: Mapping[str, Mapping[str, Any]]) -> Claim | None:
    """The claim of a plain caption ("a red ball between a cat and an orange cube").

    Args:
        text: the caption; what stands before its first relation is the subject.
        objects: `kind` and `colour` of each labelled object.

    Returns:
        None if an object that the caption names is not among them, so the caption is false.

    Raises:
        ValueError: the caption states no relation, or takes the point of view of another object
            than the one it relates to.

    >>> there = {"subject": {"kind": "ball", "colour": "red"},
    ...          "object": {"kind": "cube", "colour": "blue"}}
    >>> read_claim("a blue cube left of a red ball", there)
    Claim(relation='left of', labels=('object', 'subject'), frame='camera')
    >>> read_claim("a green ball left of a blue cube", there) is None
    True
    """
    text = text.removesuffix(CAMERA_FRAME)
    own = OWN_FRAME.search(text)
    viewer = own[1] if own else None
    if own:
        text = text[: own.start()]
    found = RELATION.search(text)
    if found is None:
        raise ValueError(f"{text!r} states no relation")
    phrases = [text[: found.start()], text[found.end() :]]
    if found[1] == "between":
        phrases = [phrases[0], *NEXT.split(phrases[1], maxsplit=1)]
    labels = []
    for phrase in phrases:
        label = next((k for k, made in objects.items() if _names(phrase, made)), None)
        if label is None:
            return None
        labels.append(label)
    if viewer is not None and viewer != objects[labels[1]]["kind"]:
        raise ValueError(f"{text!r} relates to no {viewer}, from whose point of view it speaks")
    return Claim(found[1], tuple(labels), "object" if viewer else "camera")


def _names(phrase: str, made: Mapping[str, Any]) -> bool:
    return all(re.search(rf"\b{re.escape(made[key])}\b", phrase) for key in ("kind", "colour"))
