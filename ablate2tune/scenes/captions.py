"""Captions of scenes: plain and natural, with and without colours, and foils, false of the picture.

>>> cat, car = Thing("cat", "orange", "sitting"), Thing("car", "blue")
>>> compose("on top of", [cat, car])
'an orange cat on top of a blue car'
>>> compose("on top of", [cat, car], TEMPLATES[0], bare=True)
'a cat is sitting on top of a car'
>>> compose(None, [cat, car], PAIR_TEMPLATES[0])
'a photo of an orange cat and a blue car'
"""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from ablate2tune.scenes.catalogue import find_asset
from ablate2tune.scenes.vocabulary import CONTRAST, SYMMETRIC, with_article

TEMPLATES = (
    "{a} is {relation} {b}",
    "a photo of {a} {relation} {b}",
    "there is {a} {relation} {b}",
    "{a}, {relation} {b}",
    "a picture that shows {a} {relation} {b}",
    "a scene with {b} and, {relation} it, {a}",
)
PAIRWISE = TEMPLATES[:-1]
"""Templates that also read well when the second phrase names two objects."""
PAIR_TEMPLATES = (
    "a photo of {things}",
    "there is {things}",
    "a picture that shows {things}",
    "a scene with {things}",
)
"""Without the relation."""
VERBS = ("standing", "sitting", "lying", "perching", "flying", "waving", "walking")
"""Poses that a natural caption says: "a black cat sitting on top of a car"."""


ROLES = ("subject", "object", "third")


@dataclass(frozen=True)
class Thing:
    """An object as a caption speaks of it."""

    kind: str
    colour: str
    pose: str = ""
    wording: str = "{colour} {name}"

    def bare(self) -> str:
        """Without its colour: "a ball"."""
        return with_article(self.kind)

    def phrase(self) -> str:
        """With its colour: "an orange ball", "a person in red"."""
        return with_article(self.wording.format(colour=self.colour, name=self.kind))

    def doing(self, relation: str) -> str:
        """The relation with the pose, if it can have several: "sitting on top of"."""
        return f"{self.pose} {relation}" if self.pose in VERBS else relation


def thing(kind: str, colour: str, pose: str, folder=None) -> Thing:
    """A thing with its asset's wording; the pose counts only where there are several."""
    asset = find_asset(kind, folder)
    return Thing(kind, colour, pose if len(asset.poses) > 1 else "", asset.wording)


def things_of(row: Mapping[str, Any]) -> list[Thing]:
    """Subject, object and perhaps third of a scene's row of metadata.

    Rows without poses and wordings (`world: plain`) speak of "a red ball".
    """
    return [
        Thing(
            row[role],
            row[f"{role}_colour"],
            row.get(f"{role}_pose", ""),
            row.get(f"{role}_wording") or Thing.wording,
        )
        for role in ROLES
        if row.get(role)
    ]


def templates(relation: str | None, things: list[Thing]) -> tuple[str, ...]:
    """The natural templates for a relation of these things, or for none."""
    if relation is None:
        return PAIR_TEMPLATES
    return PAIRWISE if len(things) > 2 else TEMPLATES


def compose(
    relation: str | None, things: list[Thing], template: str | None = None, bare: bool = False
) -> str:
    """A caption of `things[0] RELATION things[1] (and things[2])`.

    Args:
        relation: None leaves it out.
        things: two things, or three for "between".
        template: one of `templates`; None makes the plain caption.
        bare: leave the colours out.
    """
    phrases = [t.bare() if bare else t.phrase() for t in things]
    if relation is None:
        return (template or "{things}").format(things=_joined(phrases))
    rest = _joined(phrases[1:])
    if template is None:
        return f"{phrases[0]} {relation} {rest}"
    return template.format(a=phrases[0], relation=things[0].doing(relation), b=rest)


def reversed_claim(relation: str, things: list[Thing]) -> tuple[str, list[Thing]]:
    """The foil's relation and things: the contrast; for "between", the first two exchanged."""
    if relation == "between":
        return relation, [things[1], things[0], *things[2:]]
    return CONTRAST[relation], things


def captions(
    relation: str, things: list[Thing], false_colour: str, false_thing: Thing, rng: Random
) -> dict[str, str]:
    """True captions and foils of `things[0] RELATION things[1] (and things[2])`.

    Args:
        relation: what holds of the first thing.
        things: two things, or three for "between".
        false_colour: a colour that nothing in the picture has.
        false_thing: a kind that nothing in the picture is, in the first thing's colour.
        rng: draws the natural caption's template.

    Returns:
        `text` (plain), `text_natural`, `text_bare` (no attributes), `pair_text` (no relation),
        `foil` (relation reversed), `foil_swapped` (roles exchanged; the foil itself where the
        relation holds both ways), `foil_colour`, `foil_object`.
    """
    first, *others = things
    recoloured = Thing(first.kind, false_colour, first.pose, first.wording)
    foil = compose(*reversed_claim(relation, things))
    swapped = compose(relation, [others[0], first, *others[1:]])
    return {
        "text": compose(relation, things),
        "text_natural": compose(relation, things, rng.choice(templates(relation, things))),
        "text_bare": compose(relation, things, bare=True),
        "pair_text": compose(None, things),
        "foil": foil,
        "foil_swapped": foil if relation in SYMMETRIC else swapped,
        "foil_colour": compose(relation, [recoloured, *others]),
        "foil_object": compose(relation, [false_thing, *others]),
    }


def _joined(phrases: list[str]) -> str:
    """ "a red ball and a blue cube"; three: "a red ball, a blue cube and a cat"."""
    *before, last = phrases
    return f"{', '.join(before)} and {last}" if before else last
