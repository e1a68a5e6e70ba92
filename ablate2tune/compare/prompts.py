"""The prompts that arms are compared on: object pairs that no training image shows."""

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ablate2tune.errors import UserError
from ablate2tune.scenes.captions import compose, thing
from ablate2tune.scenes.dataset.records import SceneRecord
from ablate2tune.scenes.samplers import kind_pairs, things
from ablate2tune.scenes.scenes_config import ScenesConfig
from ablate2tune.scenes.vocabulary import RELATIONS, is_holdout
from ablate2tune.seeding import numpy_generator

JUDGED = RELATIONS
"""The relations that `read_relation` reads from one image."""

Thing = tuple[str, str]
"""A coloured kind: ("red", "ball")."""
Pair = frozenset[str]
"""Two objects as judges name them, in either order."""


@dataclass(frozen=True)
class Prompt:
    """What an image is asked to show, and what a judge should find in it."""

    text: str
    relation: str | None
    """One of `JUDGED`, or None for a prompt that states none."""
    subject: str
    subject_colour: str
    object: str
    object_colour: str
    index: int
    """Position in its list; image seeds derive from it."""

    @property
    def subject_label(self) -> str:
        """The subject as judges name it: "red ball"."""
        return f"{self.subject_colour} {self.subject}"

    @property
    def object_label(self) -> str:
        """The object as judges name it: "blue cube"."""
        return f"{self.object_colour} {self.object}"

    @property
    def labels(self) -> tuple[str, str]:
        """Both, as judges name them."""
        return self.subject_label, self.object_label


def relation_prompts(
    scenes: ScenesConfig, count: int, seed: int, trained: Collection[Pair] = ()
) -> list[Prompt]:
    """Unique relation prompts ("a red ball left of a blue cube") over held-out pairs.

    The relations that can be judged take turns over their shuffled pairs, so their numbers differ
    by one at most; the list is in seeded order. `trained` is what
    training shows whatever the hold-out says (`trained_pairs`).

    Raises:
        UserError: no relation can be judged, or there are not enough held-out pairs for `count`
            unique prompts.
    """
    relations = judged_relations(scenes)
    shown = kind_pairs(scenes)
    pairs = held_out_pairs(scenes, trained)
    by_relation = [_of_kinds(pairs, shown.get(relation, ())) for relation in relations]
    _check_count("compare.prompts", count, min(map(len, by_relation)), len(relations), scenes)
    drawn: list[tuple[Thing, Thing, str]] = []
    for number, (relation, of) in enumerate(zip(relations, by_relation, strict=True)):
        quota = count // len(relations) + (number < count % len(relations))
        order = numpy_generator(seed, "relation prompts", number).permutation(len(of))[:quota]
        drawn += [(*of[int(i)], relation) for i in order]
    order = numpy_generator(seed, "relation prompt order").permutation(count)
    return [_prompt(scenes, *drawn[int(i)], index) for index, i in enumerate(order)]


def judged_relations(scenes: ScenesConfig) -> list[str]:
    """The relations of these scenes that arms are compared on; the others cannot be judged.

    Raises:
        UserError: there is none, or they are meant by an object's own front.
    """
    mend = "run render-data, localize and train one by one, and look at train/samples"
    if scenes.frame != "camera":
        raise UserError(
            "compare reads relations as the viewer sees them alone",
            where=f"scenes.frame = {scenes.frame}",
            mend=mend,
        )
    shown = list(kind_pairs(scenes)) if scenes.prompts else scenes.relations
    judged = [relation for relation in shown if relation in JUDGED]
    if not judged:
        raise UserError(
            f"compare cannot judge {', '.join(shown)}: from one image it reads "
            f"{', '.join(JUDGED)} alone",
            where="scenes.prompts" if scenes.prompts else "scenes.relations",
            mend=mend,
        )
    return judged


def unjudged_relations(scenes: ScenesConfig) -> list[str]:
    """The relations that scenes show and no prompt of `compare` asks for."""
    shown = kind_pairs(scenes) if scenes.prompts else scenes.relations
    return [relation for relation in shown if relation not in JUDGED]


def plain_prompts(
    scenes: ScenesConfig, count: int, seed: int, trained: Collection[Pair] = ()
) -> list[Prompt]:
    """Unique prompts without a relation ("a red ball and a blue cube") over held-out pairs.

    Raises:
        UserError: there are not enough held-out pairs for `count` unique prompts.
    """
    shown = kind_pairs(scenes)
    kinds = [pair for relation in judged_relations(scenes) for pair in shown.get(relation, ())]
    pairs = _of_kinds(held_out_pairs(scenes, trained), kinds)
    _check_count("compare.plain_prompts", count, len(pairs), 1, scenes)
    order = numpy_generator(seed, "plain prompts").permutation(len(pairs))[:count]
    return [_prompt(scenes, *pairs[int(i)], None, index) for index, i in enumerate(order)]


def trained_pairs(records: Sequence[SceneRecord]) -> set[Pair]:
    """The pairs of objects that the training scenes of a data set show."""
    return {
        frozenset((f"{one.subject_colour} {one.subject}", f"{one.object_colour} {one.object}"))
        for one in records
        if one.split == "train"
    }


def held_out_pairs(
    scenes: ScenesConfig, trained: Collection[Pair] = ()
) -> list[tuple[Thing, Thing]]:
    """Ordered pairs of differently coloured objects that no training image shows together.

    What was rendered counts, not what the recipe says now: its hold-out may be another one than
    that of the data set.
    """
    return [
        (a, b)
        for a, b in itertools.permutations(things(scenes), 2)
        if a[0] != b[0]
        and is_holdout(" ".join(a), " ".join(b), scenes.holdout)
        and frozenset((" ".join(a), " ".join(b))) not in trained
    ]


def _of_kinds(
    pairs: list[tuple[Thing, Thing]], kinds: Sequence[tuple[str, str]]
) -> list[tuple[Thing, Thing]]:
    known = set(kinds)
    return [(a, b) for a, b in pairs if (a[1], b[1]) in known]


def _prompt(
    scenes: ScenesConfig, subject: Thing, object_: Thing, relation: str | None, index: int
) -> Prompt:
    (colour, kind), (other_colour, other_kind) = subject, object_
    named = [thing(kind, colour, "", scenes.assets) for colour, kind in (subject, object_)]
    text = compose(relation, named)
    return Prompt(text, relation, kind, colour, other_kind, other_colour, index)


def _check_count(key: str, count: int, pairs: int, relations: int, scenes: ScenesConfig) -> None:
    if count > pairs * relations:
        times = f" x {relations} relations" if relations > 1 else ""
        raise UserError(
            f"{count} prompts were asked for, but there are {pairs} held-out pairs "
            f"(in either order){times} = {pairs * relations} that no training picture shows, "
            f"at scenes.holdout = {scenes.holdout:g}",
            where=key,
            mend="ask for fewer prompts, or raise scenes.holdout and render the data again",
        )
