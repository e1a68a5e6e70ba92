"""The words of the scenes: kinds, colours, relations, captions, and pairs kept for evaluation."""

import hashlib
import re

KINDS = ("ball", "cube", "cone", "cylinder", "box", "chair", "table", "cup", "car")
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "white", "black")
OPPOSITE = {
    "left of": "right of",
    "right of": "left of",
    "in front of": "behind",
    "behind": "in front of",
    "on top of": "underneath",
    "underneath": "on top of",
}
RELATIONS = tuple(OPPOSITE)
CONTRAST = {
    **OPPOSITE,
    "above": "below",
    "below": "above",
    "inside": "next to",
    "next to": "inside",
    "near": "far from",
    "far from": "near",
    "between": "between",
}
"""What the other twin of a group shows; for "between", another object is in the middle."""
DIRECTIONS = ("left of", "right of", "in front of", "behind")
"""Relations that can also be meant by the second object's own front."""
SYMMETRIC = ("next to", "near", "far from")
"""Relations that hold both ways."""

HOLDOUT_SALT = "ablate2tune holdout pairs 1"
"""Part of every hold-out decision. Changing it moves pairs between train and test everywhere."""


PLURALS = {
    **{"person": "people", "man": "men", "woman": "women", "child": "children"},
    **{"knife": "knives", "leaf": "leaves", "mouse": "mice", "sheep": "sheep"},
    **{"die": "dice", "dice": "dice"},
}
"""Those that no rule gives."""

VOWEL_SOUND = re.compile(
    r"(?!eu|ewe|one|once|ufo|uni(?![mn])|us[aeiu]|ut[ei])[aeiou]|hour|heir|honest"
)
"""How a word begins that takes "an"; a name of the user's own may be a unicorn or an hourglass."""


def with_article(words: str) -> str:
    """The words with "a" or "an" before them, by the sound of the first.

    >>> with_article("orange ball"), with_article("unicorn"), with_article("hourglass")
    ('an orange ball', 'a unicorn', 'an hourglass')
    """
    return f"{'an' if VOWEL_SOUND.match(words.lower()) else 'a'} {words}"


def plural(noun: str) -> str:
    """Several of what a noun names; what is written before its last word stays.

    >>> plural("ball"), plural("box"), plural("traffic cone"), plural("shelf"), plural("puppy")
    ('balls', 'boxes', 'traffic cones', 'shelves', 'puppies')
    """
    *before, last = noun.split(" ")
    if last in PLURALS:
        last = PLURALS[last]
    elif last.endswith("shelf"):
        last = last[:-1] + "ves"
    elif re.search(r"(?:s|x|z|ch|sh)$", last):
        last += "es"
    elif re.search(r"[^aeiou]y$", last):
        last = last[:-1] + "ies"
    else:
        last += "s"
    return " ".join([*before, last])


def caption(
    subject_colour: str, subject: str, relation: str | None, object_colour: str, object_: str
) -> str:
    """What an image shows, with the relation or without any.

    >>> caption("red", "ball", "left of", "blue", "cube")
    'a red ball left of a blue cube'
    >>> caption("red", "ball", None, "orange", "cube")
    'a red ball and an orange cube'
    """
    first, second = f"{subject_colour} {subject}", f"{object_colour} {object_}"
    return f"{with_article(first)} {relation or 'and'} {with_article(second)}"


def is_holdout(object_a: str, object_b: str, fraction: float) -> bool:
    """Whether a pair of coloured kinds ("red ball", "blue cube") is kept for evaluation.

    Depends on the unordered pair alone, never on a seed or a data set, so that a pair held out
    once is held out everywhere; a larger fraction only adds pairs.
    """
    key = "|".join([HOLDOUT_SALT, *sorted((object_a, object_b))])
    draw = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    return draw < fraction
