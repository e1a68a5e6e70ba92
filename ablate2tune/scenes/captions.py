"""Captions of scenes: plain and natural, with and without colours, and foils, false of the picture.

>>> cat, car = Thing("cat", "orange", "sitting"), Thing("car", "blue")
>>> compose("on top of", [cat, car])
'an orange cat on top of a blue car'
>>> compose("on top of", [cat, car], TEMPLATES[0], bare=True)
'a cat is sitting on top of a car'
>>> compose(None, [cat, car], PAIR_TEMPLATES[1])
'there is an orange cat and a blue car'
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from ablate2tune.scenes.assets.asset_catalogue import assets_module, catalogue, find_asset
from ablate2tune.scenes.vocabulary import CONTRAST, DIRECTIONS, SYMMETRIC, with_article

TEMPLATES = (
    "{a} is {relation} {b}",
    "{a} that is {relation} {b}",
    "there is {a} {relation} {b}",
    "{a}, {relation} {b}",
    "a picture that shows {a} {relation} {b}",
    "a scene with {b} and, {relation} it, {a}",
)
PAIRWISE = TEMPLATES[:-1]
"""Templates that also read well when the second phrase names two objects."""
PAIR_TEMPLATES = (
    "{things} together",
    "there is {things}",
    "a picture that shows {things}",
    "a scene with {things}",
)
"""Without the relation."""
VERBS = ("standing", "sitting", "lying", "perching", "flying", "waving", "walking")
"""Poses that a natural caption says: "a black cat sitting on top of a car"."""
OWN_SIDES = {
    "in front of": "{a} on the side that {b} faces",
    "behind": "{a} at the back of {b}",
}
"""Natural captions that say by themselves that the second object's own front is meant."""
ROLES = ("subject", "object", "third")


@dataclass(frozen=True)
class Thing:
    """An object as a caption speaks of it."""

    kind: str
    colour: str
    pose: str = ""
    wording: str = "{colour} {name}"
    second: str = ""
    """The other colour that it shows."""

    def bare(self) -> str:
        """Without its colour: "a ball"."""
        return with_article(self.kind)

    def phrase(self) -> str:
        """With its colours: "an orange ball", "a person in red", "a red and white ball"."""
        colours = f"{self.colour} and {self.second}" if self.second else self.colour
        return with_article(self.wording.format(colour=colours, name=self.kind))

    def doing(self, relation: str) -> str:
        """The relation with the pose, if it can have several: "sitting on top of"."""
        return f"{self.pose} {relation}" if self.pose in VERBS else relation


def thing(
    kind: str, colour: str, pose: str, folder: Path | None = None, variant: str = ""
) -> Thing:
    """A thing with its asset's wording; the pose counts only where there are several."""
    asset = find_asset(kind, folder)
    second = assets_module().second_colour(asset, colour, variant)
    return Thing(kind, colour, pose if len(asset.poses) > 1 else "", asset.wording, second)


def spoken(label: str) -> str:
    """A coloured kind as captions say it; of a kind that is not in the catalogue, with its article.

    >>> spoken("red ball"), spoken("red person"), spoken("orange melon")
    ('a red ball', 'a person in red', 'an orange melon')
    """
    colour, _, kind = label.partition(" ")
    return thing(kind, colour, "").phrase() if kind in catalogue() else with_article(label)


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
            row.get(f"{role}_second") or "",
        )
        for role in ROLES
        if row.get(role)
    ]


def templates(
    relation: str | None, things: list[Thing], frame: str | None = None
) -> tuple[str, ...]:
    """The natural templates for a relation of these things, or for none.

    Half of those for a front of the second object's own say so by themselves (`OWN_SIDES`).
    """
    if relation is None:
        return PAIR_TEMPLATES
    known = PAIRWISE if len(things) > 2 else TEMPLATES
    if frame == "object" and relation in OWN_SIDES:
        return known + (OWN_SIDES[relation],) * len(known)
    return known


def compose(
    relation: str | None,
    things: list[Thing],
    template: str | None = None,
    bare: bool = False,
    frame: str | None = None,
) -> str:
    """A caption of `things[0] RELATION things[1] (and things[2])`.

    Args:
        relation: None leaves it out.
        things: two things, or three for "between".
        template: one of `templates`; None makes the plain caption.
        bare: leave the colours out.
        frame: "object" if the relation is meant by the second object's own front, "camera" if that
            must be ruled out, None if there is nothing to tell apart. The caption says which.

    >>> compose("left of", [Thing("cat", "grey"), Thing("car", "blue")], frame="object")
    "a grey cat left of a blue car from the car's point of view"
    """
    phrases = [t.bare() if bare else t.phrase() for t in things]
    if relation is None:
        return (template or "{things}").format(things=_joined(phrases))
    rest = _joined(phrases[1:])
    view = "" if template in OWN_SIDES.values() else _point_of_view(relation, things[1], frame)
    if template is None:
        return f"{phrases[0]} {relation} {rest}{view}"
    return template.format(a=phrases[0], relation=things[0].doing(relation), b=rest) + view


def reversed_claim(
    relation: str, things: list[Thing], contrast: str | None = None
) -> tuple[str, list[Thing]]:
    """The foil's relation and things: the contrast; for "between", the first two exchanged.

    `contrast` is what the other picture of the group shows, where that is not the usual one.
    """
    if relation == "between":
        return relation, [things[1], things[0], *things[2:]]
    return contrast or CONTRAST[relation], things


def captions(
    relation: str,
    things: list[Thing],
    false_colour: str,
    false_thing: Thing,
    rng: Random,
    frame: str | None = None,
    contrast: str | None = None,
) -> dict[str, str]:
    """True captions and foils of `things[0] RELATION things[1] (and things[2])`.

    Args:
        relation: what holds of the first thing.
        things: two things, or three for "between".
        false_colour: a colour that nothing in the picture shows.
        false_thing: a kind that nothing in the picture is, in the first thing's colour.
        rng: draws the natural caption's template.
        frame: as in `compose`.
        contrast: as in `reversed_claim`.

    Returns:
        `text` (plain), `text_natural`, `text_bare` (no attributes), `pair_text` (no relation),
        `foil` (relation reversed), `foil_swapped` (roles exchanged; the foil itself where the
        relation holds both ways or is the second object's own), `foil_colour`, `foil_object`.
    """
    first, *others = things
    recoloured = replace(first, colour=false_colour)
    natural = rng.choice(templates(relation, things, frame))
    foil = compose(*reversed_claim(relation, things, contrast), frame=frame)
    swapped = compose(relation, [others[0], first, *others[1:]], frame=frame)
    # The first object may have no front, so the exchange of roles says nothing in that frame.
    one_way = relation not in SYMMETRIC and frame != "object"
    return {
        "text": compose(relation, things, frame=frame),
        "text_natural": compose(relation, things, natural, frame=frame),
        "text_bare": compose(relation, things, bare=True, frame=frame),
        "pair_text": compose(None, things),
        "foil": foil,
        "foil_swapped": swapped if one_way else foil,
        "foil_colour": compose(relation, [recoloured, *others], frame=frame),
        "foil_object": compose(relation, [false_thing, *others], frame=frame),
    }


def _point_of_view(relation: str, other: Thing, frame: str | None) -> str:
    """The end of a caption that says whose left, or whose front, is meant."""
    if frame == "object":
        return f" from the {other.kind}'s point of view"
    return " as seen in the picture" if frame and relation in DIRECTIONS else ""


def _joined(phrases: list[str]) -> str:
    """ "a red ball and a blue cube"; three: "a red ball, a blue cube and a cat"."""
    *before, last = phrases
    return f"{', '.join(before)} and {last}" if before else last
