"""Drawing contrast groups: two scenes in which the same two objects have exchanged places.

A group is a JSON-able dict that the Blender worker (`blender_scenes/worker.py`) checks and
renders. Lengths are metres, angles degrees, x points right, y away from the camera, z up.
"""

import itertools
import random
from collections import Counter
from functools import lru_cache
from typing import Any

from ablate2tune.errors import UserError
from ablate2tune.scenes.layouts.stacking import VERTICAL, Stack, stack
from ablate2tune.scenes.scenes_config import ScenesConfig
from ablate2tune.scenes.vocabulary import (
    COLOURS,
    CONTRAST,
    KINDS,
    OPPOSITE,
    caption,
    is_holdout,
)
from ablate2tune.seeding import seed_for

SCHEMA = "ablate2tune/scene-group/1"
POSES_PER_PAIR = 10
"""Attempts with the same two objects before another pair is drawn."""
PAIR_DRAWS = 200
"""Pairs in a row that cannot show a relation, before it is given up."""

SCALE = (0.95, 1.05)
ASIDE_GAP = (1.22, 1.4)
"""Distance of the centres, left and right (m)."""
DEPTH_GAP = (1.35, 1.6)
"""Distance of the centres, in front and behind (m)."""
ASIDE_JITTER = 0.12
DEPTH_SIDESTEP = (0.1, 0.32)
"""How far the rear object stands aside, to either side, so that more of it is seen (m)."""
STACK_JITTER = 0.04
AZIMUTH = (-8.0, 8.0)
ELEVATION = (25.0, 33.0)
LENS = 75.0
FILL = (0.8, 0.85)
FRAME_JITTER = 0.02
SUN_AZIMUTH = (-60.0, -25.0)
SUN_ELEVATION = (48.0, 60.0)
SUN_STRENGTH = (1.9, 2.3)
SKY_STRENGTH = (0.5, 0.6)
GREY = (0.17, 0.34)
"""Ground reflectance: dark enough for white, bright enough for black."""

Thing = tuple[str, str]
"""A coloured kind: ("red", "ball")."""


def split_of(config: ScenesConfig, index: int) -> str:
    """The split of a group: groups of two train images come first, then the test groups."""
    return "train" if index < config.images // 2 else "test"


def relation_of(config: ScenesConfig, index: int) -> str:
    """The relation that a group's first twin shows; the relations take turns."""
    relations = [r for r in CONTRAST if r in config.relations]
    return relations[index % len(relations)]


def group_count(config: ScenesConfig) -> int:
    """Groups in the whole set, two images each."""
    return config.images // 2 + config.test_images // 2


def view_transform(config: ScenesConfig, seed: int, index: int) -> dict[str, str]:
    """The key of a group's spec that names its view transform; none for the usual one alone."""
    if config.view_transforms == ["Standard"]:
        return {}
    return {"view_transform": _rng(seed, "view transform", index).choice(config.view_transforms)}


def sample_group(
    config: ScenesConfig, seed: int, index: int, attempt: int, split: str
) -> dict[str, Any]:
    """Draw one contrast group.

    The relation cycles with the index; the pair of objects stays for `POSES_PER_PAIR` attempts, so
    that pairs which are harder to show do not become rare. Everything follows from the arguments.
    `refused` in the result says why pairs drawn before this one cannot show the relation.

    Raises:
        UserError: the objects, colours and hold-out fraction leave no pair for the split.
    """
    relation = relation_of(config, index)
    pair_rng = _rng(seed, "pair", index, attempt // POSES_PER_PAIR)
    things, stacked, refused = _draw_pair(pair_rng, _pairs(config, split), relation)

    rng = _rng(seed, "scene", index, attempt)
    group_id = f"g{index:06d}"
    spots = _spots(rng, relation, stacked)
    twins = []
    for letter, twin_relation, (place_a, place_b) in (
        ("a", relation, spots),
        ("b", OPPOSITE[relation], _opposite(spots, stacked)),
    ):
        places = {"a": dict(place_a), "b": dict(place_b)}
        for key, other in (("a", "b"), ("b", "a")):
            places[key]["on"] = other if places[key]["on"] else None
        twins.append({
            "relation": twin_relation,
            "subject": "a",
            "object": "b",
            "places": places,
            "record": _record(config, seed, index, split, group_id, letter, twin_relation, things),
        })  # fmt: skip
    sizes = (stacked.scale, 1.0)
    return {
        "schema": SCHEMA,
        "group_id": group_id,
        "attempt": attempt,
        "refused": refused,
        "objects": {
            key: _object(rng, *thing, size)
            for key, thing, size in zip("ab", things, sizes, strict=True)
        },
        "twins": twins,
        "camera": {
            "azimuth": _draw(rng, AZIMUTH),
            "elevation": _draw(rng, ELEVATION),
            "lens": LENS,
            "fill": _draw(rng, FILL),
            "offset": [_jitter(rng, FRAME_JITTER), _jitter(rng, FRAME_JITTER)],
        },
        "light": {
            "sun_azimuth": _draw(rng, SUN_AZIMUTH),
            "sun_elevation": _draw(rng, SUN_ELEVATION),
            "sun_strength": _draw(rng, SUN_STRENGTH),
            "sky_strength": _draw(rng, SKY_STRENGTH),
        },
        "ground": {"grey": _draw(rng, GREY)},
        "size": config.size,
        "samples": config.samples,
        "min_area": config.min_area,
        "render_seed": rng.randrange(2**31),
    }


def _rng(seed: int, purpose: str, *index: int) -> random.Random:
    return random.Random(seed_for(seed, purpose, *index))


def _draw(rng: random.Random, bounds: tuple[float, float]) -> float:
    return round(rng.uniform(*bounds), 4)


def _jitter(rng: random.Random, width: float) -> float:
    return _draw(rng, (-width, width))


def _object(rng: random.Random, colour: str, kind: str, size: float) -> dict[str, Any]:
    return {
        "kind": kind,
        "colour": colour,
        "scale": round(size * _draw(rng, SCALE), 4),
        "yaw": _draw(rng, (0.0, 360.0)),
    }


def _draw_pair(
    rng: random.Random, pairs: list[tuple[Thing, Thing]], relation: str
) -> tuple[list[Thing], Stack, list[str]]:
    """A pair that can show the relation and its opposite, and why those drawn before cannot."""
    if relation not in VERTICAL:
        things = list(rng.choice(pairs))
        rng.shuffle(things)
        return things, Stack(), []
    refused: list[str] = []
    while True:
        things = list(rng.choice(pairs))
        rng.shuffle(things)
        stacked = stack(things[0][1], things[1][1])
        if isinstance(stacked, Stack):
            return things, stacked, refused
        refused.append(stacked)
        if len(refused) >= PAIR_DRAWS:
            raise UserError(
                f"no object pair can be shown {relation} one another: {counted(refused)}",
                where="scenes.objects",
                mend="add an object, or leave out 'on top of' and 'underneath'",
            )


def counted(reasons: list[str]) -> str:
    """Reasons with their counts, the commonest first: "outside the frame (3), ..."."""
    return ", ".join(f"{reason} ({n})" for reason, n in Counter(reasons).most_common())


Place = dict[str, Any]


def _spots(rng: random.Random, relation: str, stacked: Stack) -> tuple[Place, Place]:
    """Where the subject and the object stand for `subject RELATION object`."""
    if relation in ("left of", "right of"):
        half = _draw(rng, ASIDE_GAP) / 2
        first, second = (-half, _jitter(rng, ASIDE_JITTER)), (half, _jitter(rng, ASIDE_JITTER))
        on = False
    elif relation in ("in front of", "behind"):
        half = _draw(rng, DEPTH_GAP) / 2
        step = _draw(rng, DEPTH_SIDESTEP) * rng.choice((-1, 1)) / 2
        first, second = (-step, -half), (step, half)
        on = False
    else:
        first, second = (_jitter(rng, STACK_JITTER), _jitter(rng, STACK_JITTER)), (0.0, 0.0)
        on = stacked.exchange or relation == "on top of"
    one: Place = {"x": first[0], "y": first[1], "on": on}
    two: Place = {"x": second[0], "y": second[1], "on": False}
    stays = relation in ("left of", "in front of", "on top of") or not stacked.exchange
    return (one, two) if stays else (two, one)


def _opposite(spots: tuple[Place, Place], stacked: Stack) -> tuple[Place, Place]:
    """The places for the opposite relation: exchanged, or the subject moved from on to under."""
    first, second = spots
    return (second, first) if stacked.exchange else ({**first, "on": not first["on"]}, second)


def _pairs(config: ScenesConfig, split: str) -> list[tuple[Thing, Thing]]:
    pairs = _split_pairs(
        tuple(config.objects), tuple(config.colours), config.holdout, split == "test"
    )
    if not pairs:
        raise UserError(
            f"no object pair is left for the {split} split",
            mend="add objects or colours, or change holdout",
        )
    return pairs


@lru_cache
def _split_pairs(
    kinds: tuple[str, ...], colours: tuple[str, ...], holdout: float, held_out: bool
) -> list[tuple[Thing, Thing]]:
    """Unordered pairs of different colours that belong to the split."""
    things = [(colour, kind) for colour in colours for kind in kinds]
    return [
        (p, q)
        for p, q in itertools.combinations(things, 2)
        if p[0] != q[0] and is_holdout(" ".join(p), " ".join(q), holdout) == held_out
    ]


def _record(
    config: ScenesConfig,
    seed: int,
    index: int,
    split: str,
    group_id: str,
    letter: str,
    relation: str,
    things: list[Thing],
) -> dict[str, Any]:
    """The scene's row of metadata.jsonl; the foils are the same for both twins."""
    (colour, kind), (other_colour, other_kind) = things
    rng = _rng(seed, "foil", index)
    used = {colour, other_colour}
    colours = [c for c in config.colours if c not in used] or [c for c in COLOURS if c not in used]
    kinds = (
        [k for k in config.objects if k not in (kind, other_kind)]
        or [k for k in config.objects if k != kind]
        or [k for k in KINDS if k != kind]
    )
    scene_id = f"{group_id}-{letter}"
    return {
        "file_name": f"images/{scene_id}.png",
        "text": caption(colour, kind, relation, other_colour, other_kind),
        "relation": relation,
        "subject": kind,
        "subject_colour": colour,
        "object": other_kind,
        "object_colour": other_colour,
        "foil": caption(colour, kind, OPPOSITE[relation], other_colour, other_kind),
        "foil_colour": caption(rng.choice(colours), kind, relation, other_colour, other_kind),
        "foil_object": caption(colour, rng.choice(kinds), relation, other_colour, other_kind),
        "pair_text": caption(colour, kind, None, other_colour, other_kind),
        "scene_id": scene_id,
        "group_id": group_id,
        "seed": seed,
        "split": split,
    }
