"""Which sentences can be shown, and as what: decided from footprints and height maps alone."""

import itertools
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ablate2tune.errors import UserError
from ablate2tune.scenes.assets.asset_catalogue import catalogue
from ablate2tune.scenes.layouts.natural import ALOFT
from ablate2tune.scenes.layouts.proposals import Places, propose
from ablate2tune.scenes.prompts.prompt_reading import Asked, Prompt, read_prompt
from ablate2tune.scenes.scenes_config import ScenesConfig
from ablate2tune.scenes.shapes.shapes import Shape, shape
from ablate2tune.scenes.vocabulary import CONTRAST
from ablate2tune.seeding import seed_for

TRIES = 40
"""Draws of looks, poses and places before a relation of two things is held to be impossible."""
LEAST = 0.4
"""Part of the looks that show a relation that must also show its contrast; a rare one would be
rejected in the camera's view."""
SHOWN = 12
"""Looks of two things that show a relation, for that part, ..."""
SEARCH = 240
"""... among so many draws."""
INSTEAD = ("in front of", "behind", "left of", "right of", "next to")
"""Contrasts for a relation whose own is impossible for the two things, or, where none of these is
possible either, ..."""
LAST = ("on top of", "underneath")
"""... one of these: a puppy is next to a fireplace or before it, and on it for a laugh."""
ALIKE = {
    "left of": ("next to",),
    "right of": ("next to",),
    "next to": ("left of", "right of"),
    "near": (*INSTEAD, *LAST),
    "far from": ("in front of", "behind", "left of", "right of"),
}
"""Relations that may hold together, so that neither is the other's contrast."""

TOLD = 3
"""Sentences that an error tells of."""
FRONT = 40.0
"""Largest turn (degrees) away from the camera of what has a front."""


@dataclass(frozen=True)
class Plan:
    """A sentence that can be shown: its relation, and those that the other picture may show.

    Without any (a bird that flies over a house), both pictures show the sentence, and its foil is a
    caption alone.
    """

    prompt: Prompt
    relation: str
    contrasts: tuple[str, ...]


def draw_shapes(
    rng: random.Random, things: Sequence[Asked], folder: Path | None, aloft: bool = True
) -> list[Shape]:
    """Looks, poses and turns for the things of a sentence; `aloft`: they may fly."""
    return [_drawn(rng, thing, folder, aloft) for thing in things]


def _drawn(rng: random.Random, thing: Asked, folder: Path | None, aloft: bool) -> Shape:
    asset = catalogue(folder)[thing.kind]
    poses = (
        [thing.pose] if thing.pose else [p for p in asset.poses if aloft or p not in asset.flies]
    )
    made = shape(thing.kind, rng.choice(thing.variants), rng.choice(poses), 1.0, folder)
    yaw = rng.uniform(-FRONT, FRONT) if made.has_front else rng.uniform(0, 360)
    return made.turned(round(yaw, 4))


def draw(
    rng: random.Random, relation: str, things: Sequence[Asked], folder: Path | None
) -> tuple[list[Shape], Places] | str:
    """Shapes and places that show a relation, or the commonest reason why there are none."""
    reasons = Counter[str]()
    for _ in range(TRIES):
        shapes = draw_shapes(rng, things, folder, relation in ALOFT)
        made = propose(rng, relation, shapes, folder)
        if not isinstance(made, str):
            return made
        reasons[made] += 1
    return reasons.most_common(1)[0][0]


@lru_cache(maxsize=4096)
def plan(text: str, folder: Path | None = None) -> Plan | str:
    """How a sentence can be shown, or why it cannot."""
    prompt = read_prompt(text, folder)
    if isinstance(prompt, str):
        return prompt
    for one, other in itertools.combinations(prompt.things, 2):
        # A man and a woman have no look in common.
        if one.word == other.word or (
            one.kind == other.kind and set(one.variants) & set(other.variants)
        ):
            return f"two of a kind ({one.kind}) cannot be told apart"
    plain = [t._replace(variants=t.plain or t.variants) for t in prompt.things]
    made = _plan(prompt._replace(things=tuple(plain)), folder)
    # A ball of one colour may be too small: then rather one that shows another as well.
    return _plan(prompt, folder) if isinstance(made, str) else made


def _plan(prompt: Prompt, folder: Path | None) -> Plan | str:
    rng = random.Random(seed_for(0, f"prompt plan {prompt.text}"))
    reasons = []
    for relation in prompt.relations:
        made = draw(rng, relation, prompt.things, folder)
        if not isinstance(made, str):
            return Plan(prompt, relation, _contrasts(rng, relation, prompt.things, folder))
        reasons.append(made)
    return reasons[0]


def _contrasts(
    rng: random.Random, relation: str, things: Sequence[Asked], folder: Path | None
) -> tuple[str, ...]:
    looks: list[list[Shape]] = []
    for _ in range(SEARCH):
        drawn = draw_shapes(rng, things, folder, relation in ALOFT)
        if not isinstance(propose(rng, relation, drawn, folder), str):
            looks.append(drawn)
        if len(looks) == SHOWN:
            break

    def possible(other: str) -> bool:
        made = [propose(rng, other, drawn, folder) for drawn in looks]
        return sum(not isinstance(one, str) for one in made) >= max(1, LEAST * len(looks))

    usual = CONTRAST[relation]
    if relation == "between" or possible(usual):
        return (usual,)
    for instead in (INSTEAD, LAST):
        others = [r for r in instead if r not in (relation, *ALIKE.get(relation, ()))]
        found = tuple(r for r in others if possible(r))
        if found:
            return found
    return ()


def plans_of(config: ScenesConfig) -> tuple[list[Plan], dict[str, str]]:
    """The sentences of a recipe that can be shown, and why each of the others cannot.

    Raises:
        UserError: none of them can be shown.
    """
    found = {text: plan(text, config.assets) for text in config.prompts}
    refused = {text: made for text, made in found.items() if isinstance(made, str)}
    plans = [made for made in found.values() if isinstance(made, Plan)]
    if not plans:
        told = [f"{text!r}: {why}" for text, why in itertools.islice(refused.items(), TOLD)]
        if more := len(refused) - len(told):
            told.append(f"and {more} more")
        raise UserError(
            f"none of the sentences can be shown: {'; '.join(told)}", where="scenes.prompts"
        )
    return plans, refused


def kind_pairs(config: ScenesConfig) -> dict[str, list[tuple[str, str]]]:
    """By relation, the kinds of subject and object of a recipe's sentences.

    Raises:
        UserError: none of them can be shown.
    """
    found: dict[str, dict[tuple[str, str], None]] = {}
    for made in plans_of(config)[0]:
        subject, object_ = (thing.kind for thing in made.prompt.things[:2])
        found.setdefault(made.relation, {})[subject, object_] = None
    return {relation: list(pairs) for relation, pairs in found.items()}
