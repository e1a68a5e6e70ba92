"""Which objects natural scenes show, drawn so that every kind is named about as often."""

import random

from ablate2tune.errors import UserError
from ablate2tune.scenes.assets.asset_catalogue import catalogue
from ablate2tune.scenes.layouts import layout
from ablate2tune.scenes.layouts.either_way import SMALL
from ablate2tune.scenes.layouts.frames import shows_front
from ablate2tune.scenes.layouts.in_depth import may_stand
from ablate2tune.scenes.layouts.kind_pairs import KindPairs, evenly_drawn, possible_pairs
from ablate2tune.scenes.layouts.surroundings import shared_places
from ablate2tune.scenes.scenes_config import ALL_OBJECTS, ScenesConfig
from ablate2tune.scenes.shapes.shapes import Shape
from ablate2tune.scenes.shapes.shapes import shape as shape_at
from ablate2tune.scenes.vocabulary import CONTRAST, is_holdout

DRAWS = 400
"""Draws of objects in a row that cannot show a relation, before it is given up."""
EXPONENT = {"life": 0.85, "even": 0.5}
"""Displayed size = natural size ** this. At 1 a cup beside a table would be a few pixels."""
IN_DEPTH = ("in front of", "behind")
RAISED = "raised"
"""Stands for the pairs in depth of which one may stand on something: so it is where the nearer one
ends higher in the picture, and in most of the others."""


def kinds(config: ScenesConfig) -> list[str]:
    """The kinds of objects a recipe asks for."""
    known = catalogue(config.assets)
    return sorted(known) if ALL_OBJECTS in config.objects else list(dict.fromkeys(config.objects))


def shape_of(rng: random.Random, config: ScenesConfig, kind: str) -> Shape:
    """A look of a kind at its displayed size."""
    asset = catalogue(config.assets)[kind]
    variant, pose = rng.choice(list(asset.variants)), rng.choice(asset.poses)
    return shape_at(kind, variant, pose, EXPONENT[config.sizes], config.assets)


def _suits(config: ScenesConfig, asked: str, own: bool, shapes: list[Shape]) -> bool:
    """Whether some shapes can show a relation and its contrast and belong together."""
    relation = IN_DEPTH[0] if asked == RAISED else asked
    if not shared_places(config, [s.kind for s in shapes]):
        return False
    if not layout.suits(relation, shapes, config.assets):
        return False
    if asked in IN_DEPTH and not own and any(shape.at_wall for shape in shapes):
        return False
    if asked == RAISED and not all(may_stand(shape) for shape in shapes):
        return False
    return not own or shows_front(config, shapes[1].kind, shapes[1].variant)


_PAIRS: dict[str, dict[str, KindPairs]] = {}


def kind_pairs(config: ScenesConfig) -> dict[str, list[tuple[str, str]]]:
    """By relation, the kinds of subject and object that scenes may show in it.

    The camera's frame alone; third objects of "between" are left out.
    """
    drawn = _even_pairs(config, False)
    found = {name: drawn[name].pairs for name in config.relations if name in drawn}
    for name in IN_DEPTH:
        if name in config.relations and RAISED in drawn:
            found[name] = list(dict.fromkeys([*found.get(name, []), *drawn[RAISED].pairs]))
    return found


def _even_pairs(config: ScenesConfig, own: bool) -> dict[str, KindPairs]:
    """The pairs of kinds of every relation of a recipe, drawn so that kinds are named evenly."""
    key = repr((kinds(config), config.relations, config.sizes, config.assets, own))
    if key not in _PAIRS:
        asked = {relation: 1.0 for relation in CONTRAST if relation in config.relations}
        if not own and IN_DEPTH[0] in asked:
            asked |= dict.fromkeys(IN_DEPTH, (1 - SMALL) / 2) | {RAISED: 1 + SMALL}
        possible = {
            name: possible_pairs(
                kinds(config),
                lambda rng, kind: shape_of(rng, config, kind),
                lambda shapes, name=name: _suits(config, name, own, shapes),
            )
            for name in asked
        }
        _PAIRS[key] = evenly_drawn(possible, asked)
    return _PAIRS[key]


def draw_objects(
    rng: random.Random, config: ScenesConfig, asked: str, split: str, own: bool
) -> tuple[list[Shape], list[str]]:
    """Objects that can show a relation and its contrast, of pairs that belong to the split.

    With `own`, the relation is meant by the second object's front, so it needs one.
    """
    relation = IN_DEPTH[0] if asked == RAISED else asked
    names = kinds(config)
    known = catalogue(config.assets)
    count = 3 if relation == "between" else 2
    pairs = _even_pairs(config, own).get(asked)
    for _ in range(DRAWS if pairs and len(names) >= count else 0):
        drawn = [*pairs.draw(rng)] if pairs else []
        if count > 2:
            drawn.append(rng.choice([name for name in names if name not in drawn]))
        shapes = [shape_of(rng, config, kind) for kind in drawn]
        colours = []
        for shape in shapes:
            free = [
                c for c in known[shape.kind].colours if c in config.colours and c not in colours
            ]
            if not free:
                break
            colours.append(rng.choice(free))
        if len(colours) < count or not _suits(config, asked, own, shapes):
            continue
        first, second = (f"{c} {s.kind}" for c, s in zip(colours[:2], shapes[:2], strict=True))
        if is_holdout(first, second, config.holdout) == (split == "test"):
            return shapes, colours
    raise impossible(relation, own)


def impossible(relation: str, own: bool) -> UserError:
    """What is wrong when no objects can show a relation."""
    return UserError(
        f"found no objects that can be shown {relation!r} one another"
        f"{' by their own fronts' if own else ''} in {DRAWS} draws",
        where="scenes.objects",
        mend=f"add objects, or leave out {relation!r} and {CONTRAST[relation]!r}",
    )
