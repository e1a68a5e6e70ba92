"""Captions of scenes from the catalogue: plain and natural, and foils, false of the picture.

>>> from ablate2tune.scenes.captions import with_article
>>> with_article("orange ball"), with_article("person in red")
('an orange ball', 'a person in red')
"""

from dataclasses import dataclass
from random import Random

from ablate2tune.scenes.catalogue import find_asset
from ablate2tune.scenes.vocabulary import CONTRAST, DIRECTIONS, SYMMETRIC

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
VERBS = ("standing", "sitting", "lying", "perching", "flying", "waving", "walking")
"""Poses that a natural caption says: "a black cat sitting on top of a car"."""


OWN_SIDES = {
    "in front of": "{a} on the side that {b} faces",
    "behind": "{a} at the back of {b}",
}
"""Natural captions that say by themselves that the second object's own front is meant."""


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


def with_article(words: str) -> str:
    """The words with "a" or "an" before them."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def captions(
    relation: str,
    things: list[Thing],
    false_colour: str,
    false_thing: Thing,
    rng: Random,
    frame: str | None = None,
) -> dict[str, str]:
    """True captions and foils of `things[0] RELATION things[1] (and things[2])`.

    Args:
        relation: what holds of the first thing.
        things: two things, or three for "between".
        false_colour: a colour that nothing in the picture has.
        false_thing: a kind that nothing in the picture is, in the first thing's colour.
        rng: draws the natural caption's template.
        frame: "object" if the relation is meant by the second object's own front, "camera" if
            that must be ruled out, None if there is nothing to tell apart. Captions say which.

    Returns:
        `text` (plain), `text_natural`, `text_bare` (no attributes), `pair_text` (no relation),
        `foil` (relation reversed), `foil_swapped` (roles exchanged; the foil itself where the
        relation holds both ways or is the second object's own), `foil_colour`, `foil_object`.
    """
    first, *others = things
    recoloured = Thing(first.kind, false_colour, first.pose, first.wording)
    natural = rng.choice(PAIRWISE if len(others) > 1 else TEMPLATES)
    view = _point_of_view(relation, others[0], frame)
    swapped = _plain(relation, [others[0], first, *others[1:]]) + view
    foil = swapped if relation == "between" else _plain(CONTRAST[relation], things) + view
    if frame == "object" and relation in OWN_SIDES and rng.random() < 0.5:
        natural, end = OWN_SIDES[relation], ""
    else:
        end = view
    # The first object may have no front, so the exchange of roles says nothing in that frame.
    one_way = relation not in SYMMETRIC and frame != "object"
    bare = " and ".join(o.bare() for o in others)
    return {
        "text": _plain(relation, things) + view,
        "text_natural": natural.format(
            a=first.phrase(), relation=first.doing(relation), b=_joined(others)
        )
        + end,
        "text_bare": f"{first.bare()} {relation} {bare}{view}",
        "pair_text": _joined(things),
        "foil": foil,
        "foil_swapped": swapped if one_way else foil,
        "foil_colour": _plain(relation, [recoloured, *others]) + view,
        "foil_object": _plain(relation, [false_thing, *others]) + view,
    }


def _point_of_view(relation: str, other: Thing, frame: str | None) -> str:
    """The end of a caption that says whose left, or whose front, is meant."""
    if frame == "object":
        return f" from the {other.kind}'s point of view"
    return " as seen in the picture" if frame and relation in DIRECTIONS else ""


def _joined(things: list[Thing]) -> str:
    """ "a red ball and a blue cube"; three: "a red ball, a blue cube and a cat"."""
    *before, last = (t.phrase() for t in things)
    return f"{', '.join(before)} and {last}" if before else last


def _plain(relation: str, things: list[Thing]) -> str:
    return f"{things[0].phrase()} {relation} {_joined(things[1:])}"
