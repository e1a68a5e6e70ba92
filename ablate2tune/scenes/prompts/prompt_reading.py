"""What a sentence of `scenes.prompts` asks for, read from its words.

>>> asked = read_prompt("a puppy sitting on top of the red van")
>>> asked.relations, [(t.kind, t.variants, t.colour, t.pose) for t in asked.things]
(('on top of',), [('dog', ('puppy',), None, 'sitting'), ('car', ('van',), 'red', None)])
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from ablate2tune.errors import did_you_mean
from ablate2tune.scenes.assets.asset_catalogue import assets_module, catalogue
from ablate2tune.scenes.captions import VERBS
from ablate2tune.scenes.wording import wordings

SPELLINGS = {"gray": "grey"}
"""Other words for colours."""
OPENINGS = (
    *("a photo of", "a picture of", "an image of", "a 3d render of", "3d render of"),
    *("there is", "there's"),
)
ARTICLES = ("a", "an", "the", "one")
SEVERAL = {
    *("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "dozen", "pair"),
    *("both", "few", "several", "many", "some"),
}
"""Words that count things, as figures do; a picture shows one of each."""
BEFORE_POSES = ("is", "that is", "who is", "which is")
MISSPELT = 0.75
"""Likeness (difflib's ratio) from which on an unknown word is taken for a known one's misspelling:
a catt is a cat, a giraffe no traffic cone."""
EXAMPLE = "write it like 'a grey cat sitting behind a chair'"


class Asked(NamedTuple):
    """A thing that a sentence names."""

    word: str
    """As the sentence says it."""
    kind: str
    variants: tuple[str, ...]
    """The looks that the word fits, and both colours if there are two."""
    plain: tuple[str, ...]
    """Those of them that show the one colour and no other: a red ball is no red and white one."""
    colour: str | None
    pose: str | None


class Prompt(NamedTuple):
    """A sentence and what it asks for."""

    text: str
    relations: tuple[str, ...]
    """What its words may mean, the likeliest first; "under" is said of two relations."""
    said: str
    """The relation in the sentence's own words, with the pose before it."""
    things: tuple[Asked, ...]


class _Grammar(NamedTuple):
    sentence: re.Pattern[str]
    nouns: Mapping[str, tuple[str, tuple[str, ...]]]
    relations: Mapping[str, tuple[str, ...]]
    words: frozenset[str]


def read_prompt(text: str, folder: Path | None = None) -> Prompt | str:
    """What a sentence asks for, or why it cannot be read.

    Args:
        text: one thing, perhaps with a colour and a pose, a relation, another thing (or two).
        folder: assets of the user's own.
    """
    grammar = _grammar(folder)
    plain = " ".join(text.lower().replace(",", " ").rstrip(" .!").split())
    found = grammar.sentence.fullmatch(plain)
    if found is None:
        return _why_unread(plain, grammar)
    part = found.groupdict()
    if (part["noun3"] is not None) != ("between" in grammar.relations[part["relation"]]):
        return f"'between' takes two further things, other relations one; {EXAMPLE}"
    pose = part["pose"]
    things = []
    for number in "123":
        if part[f"noun{number}"] is None:
            continue
        word = part[f"noun{number}"]
        kind, variants = grammar.nouns[word]
        colour = part[f"colour{number}"] or part[f"dressed{number}"]
        asset = catalogue(folder)[kind]
        colour = SPELLINGS.get(colour, colour) if colour else None
        if colour and colour not in asset.colours:
            return f"no {kind} is {colour}; {_can_be(asset.colours)}"
        looks = variants or tuple(asset.variants)
        second = part[f"second{number}"] or ""
        second = SPELLINGS.get(second, second)
        plain = ()
        if colour:
            shown = {look: assets_module().second_colour(asset, colour, look) for look in looks}
            plain = tuple(look for look in looks if shown[look] == second)
            if second and not plain:
                others = [f"{colour} and {other}" for other in sorted(set(shown.values())) if other]
                return f"no {word} is {colour} and {second}; {_can_be([colour, *others])}"
            looks = plain if second else looks
        things.append(Asked(word, kind, looks, plain, colour, pose if number == "1" else None))
    poses = catalogue(folder)[things[0].kind].poses
    if pose and pose not in poses:
        return f"no {things[0].kind} is {pose}; {_can_be(poses)}"
    said = " ".join(filter(None, (pose, part["relation"])))
    return Prompt(text.strip(), grammar.relations[part["relation"]], said, tuple(things))


def _can_be(words: Sequence[str]) -> str:
    return f"it can be {(' or ' if len(words) < 3 else ', ').join(words)}"


def _why_unread(plain: str, grammar: _Grammar) -> str:
    unknown = [word for word in plain.split() if word not in grammar.words]
    for word in unknown:
        if word in SEVERAL or word.isdecimal():
            return f"{word!r}: one of each thing is shown; {EXAMPLE}"
    if unknown:
        near = difflib.get_close_matches(unknown[0], grammar.words, cutoff=MISSPELT)
        kinds = sorted({kind for kind, _ in grammar.nouns.values()})
        mend = did_you_mean(unknown[0], near) if near else f"things are {', '.join(kinds)}"
        return f"the word {unknown[0]!r} is unknown; {mend}"
    relation = re.compile(rf"\b({_any(grammar.relations)})\b")
    if not relation.search(plain):
        return f"it states none of the relations {', '.join(wordings())}"
    return f"it cannot be read; {EXAMPLE}"


def _any(words) -> str:
    """A pattern of any of some words, the longest first."""
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


@lru_cache
def _grammar(folder: Path | None) -> _Grammar:
    nouns: dict[str, tuple[str, tuple[str, ...]]] = {}
    for name, asset in catalogue(folder).items():
        nouns[name] = name, ()
        for word, variants in asset.synonyms.items():
            nouns.setdefault(word, (name, tuple(variants)))
    relations: dict[str, tuple[str, ...]] = {}
    for relation, ways in wordings().items():
        for wording in ways:
            relations[wording] = (*relations.get(wording, ()), relation)
    colours = (*assets_module().COLOURS, *SPELLINGS)

    def thing(number: int) -> str:
        second = f"(?: and (?P<second{number}>{_any(colours)}))?"
        colour = f"(?:(?P<colour{number}>{_any(colours)}){second} )?"
        dressed = f"(?: in (?P<dressed{number}>{_any(colours)}))?"
        return f"(?:(?:{_any(ARTICLES)}) )?{colour}(?P<noun{number}>{_any(nouns)}){dressed}"

    does = f"(?: (?:{_any(BEFORE_POSES)}))?(?: (?P<pose>{_any(VERBS)}))?"
    sentence = (
        f"(?:(?:{_any(OPENINGS)}) )?{thing(1)}{does} (?P<relation>{_any(relations)}) "
        f"{thing(2)}(?: and {thing(3)})?"
    )
    known = (nouns, relations, colours, OPENINGS, ARTICLES, BEFORE_POSES, VERBS, ["and"])
    words = frozenset(word for part in known for phrase in part for word in phrase.split())
    return _Grammar(re.compile(sentence), nouns, relations, words)
