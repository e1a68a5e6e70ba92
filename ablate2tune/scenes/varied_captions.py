"""Captions as people write them: other words, the other way round, with place, light and what else.

A scene has `FORMS` of them for each claim, which follow from its id, so that a cache of embeddings
stays small.
"""

from collections.abc import Mapping
from random import Random
from typing import Any

from ablate2tune.scenes.assets.asset_catalogue import catalogue
from ablate2tune.scenes.captions import VERBS, Thing
from ablate2tune.scenes.vocabulary import plural
from ablate2tune.scenes.wording import wordings
from ablate2tune.seeding import seed_for

FORMS = 6
"""Varied captions of one claim of one scene."""
CONVERSE = {
    **{"left of": "right of", "right of": "left of"},
    **{"in front of": "behind", "behind": "in front of"},
    **{"above": "below", "below": "above"},
    **{"next to": "next to", "near": "near", "far from": "far from"},
}
"""What is said of the two the other way round; what stands over a thing does not stand on it."""
STATEMENTS = (
    *("{a} {relation} {b}", "{a} {relation} {b}", "{a} is {relation} {b}"),
    *("there is {a} {relation} {b}", "{b} with {a} {relation} it"),
)
PAIRWISE = STATEMENTS[:-1]
"""Those that also read well when the second phrase names two things."""
PAIRS = ("{things}", "there is {things}", "{things} together")
OTHER_WORD, TURNED, PLACED, LIT, ALSO = 0.5, 0.3, 0.4, 0.3, 0.4
"""How often another noun, the converse, the place, the light and what else is there are said."""
TOGETHER = 0.5
"""How often two of a kind are named together where no relation is said."""
THE = 0.3
"""How often the second thing has "the"."""


def varied(
    row: Mapping[str, Any], relation: str | None, things: list[Thing], form: int, bare: bool
) -> str:
    """One caption of `things[0] RELATION things[1] (and things[2])`.

    Args:
        row: the scene's row of metadata; its columns of a natural world may be missing.
        relation: None leaves it out.
        things: in the claim's order, which need not be the row's.
        form: which one, below `FORMS`.
        bare: leave the colours out.
    """
    # Of the scene and the form alone, so that a foil has the words of its true caption.
    rng = Random(seed_for(0, f"varied caption {row.get('scene_id', '')}", form))
    draws = {name: rng.random() for name in ("turned", "placed", "lit", "also")}
    phrases = [_phrase(rng, row, named, bare) for named in things]
    if relation is None:
        *before, last = phrases
        pair, both = rng.choice(PAIRS), _two_of_a_kind(row, things, form, bare)
        if both:
            text = pair.replace("there is", "there are").format(things=both)
        else:
            text = pair.format(things=f"{', '.join(before)} and {last}")
    else:
        said, subject = relation, things[0]
        if draws["turned"] < TURNED and relation in CONVERSE:
            said, subject = CONVERSE[relation], things[1]
            phrases = phrases[::-1]
        words = rng.choice(wordings()[said])
        words = f"{subject.pose} {words}" if subject.pose in VERBS else words
        known = PAIRWISE if len(things) > 2 else STATEMENTS
        rest = " and ".join(phrases[1:])
        text = rng.choice(known).format(a=phrases[0], relation=words, b=rest)
    place = row.get("place", "")
    if place and draws["placed"] < PLACED:
        text = f"{text} {rng.choice(place.split('; '))}"
    light = row.get("light", "")
    if light and draws["lit"] < LIT:
        text = f"{text} {rng.choice(light.split('; '))}"
    also = row.get("also", "")
    if also and draws["also"] < ALSO:
        other = rng.choice(also.split("; "))
        text = f"{text[0].upper()}{text[1:]}. There is also {other}."
    return text


def _two_of_a_kind(
    row: Mapping[str, Any], things: list[Thing], form: int, bare: bool
) -> str | None:
    """ "Two balls, one red and one blue", at times, where both are of one kind and say no more."""
    kinds = {one.kind for one in things}
    plain = all(one == Thing(one.kind, one.colour) for one in things)
    often = Random(seed_for(0, f"two of a kind {row.get('scene_id', '')}", form)).random()
    if len(things) != 2 or len(kinds) > 1 or not plain or often >= TOGETHER:
        return None
    first, second = (one.colour for one in things)
    if bare or not (first and second):
        return f"two {plural(things[0].kind)}"
    if first == second:
        return f"two {first} {plural(things[0].kind)}"
    return f"two {plural(things[0].kind)}, one {first} and one {second}"


def _phrase(rng: Random, row: Mapping[str, Any], named: Thing, bare: bool) -> str:
    """A thing in its own or another noun that fits its look."""
    draw, which, the = rng.random(), rng.random(), rng.random()
    role = next(
        (r for r in ("subject", "object", "third")
         if (row.get(r), row.get(f"{r}_colour")) == (named.kind, named.colour)), None,
    )  # fmt: skip
    variant = row.get(f"{role}_variant", "")
    asset = catalogue().get(named.kind)
    synonyms = asset.synonyms if asset else {}
    words = [w for w, fits in synonyms.items() if variant and (not fits or variant in fits)]
    noun = words[int(which * len(words))] if words and draw < OTHER_WORD else named.kind
    spoken = Thing(noun, named.colour, named.pose, named.wording, named.second)
    phrase = spoken.bare() if bare else spoken.phrase()
    if role != "subject" and the < THE:
        return "the " + phrase.split(" ", 1)[1]
    return phrase
