"""Drawing contrast groups of catalogue objects, for `scenes.world: natural`.

Same format as `sampling`: a JSON-able dict whose two twins differ in the relation alone. Lengths
are metres, angles degrees, x points right, y away from the camera, z up.
"""

import math
import random
from typing import Any

from ablate2tune.scenes.assets.asset_catalogue import assets_module, catalogue
from ablate2tune.scenes.assets.user_assets import file_notes, user_assets
from ablate2tune.scenes.captions import Thing, captions, thing
from ablate2tune.scenes.layouts import frames, layout
from ablate2tune.scenes.layouts.either_way import in_depth_of, way_of
from ablate2tune.scenes.layouts.frames import any_side, arrange_by_front, frame_of, shows_front
from ablate2tune.scenes.layouts.in_depth import in_depth
from ablate2tune.scenes.layouts.natural_objects import (
    DRAWS,
    IN_DEPTH,
    RAISED,
    draw_objects,
    impossible,
    kinds,
    shape_of,
)
from ablate2tune.scenes.layouts.scene_sampling import POSES_PER_PAIR, SCHEMA, relation_of
from ablate2tune.scenes.layouts.surroundings import (
    belongs,
    fitting_environment,
    light_words,
    look_of,
    place_words,
    shared_places,
    sun_azimuth,
    walled,
)
from ablate2tune.scenes.scenes_config import ScenesConfig
from ablate2tune.scenes.shapes.shapes import Arrangement, Shape, hung
from ablate2tune.seeding import seed_for

DIFFERENT_DRAWS = 150
"""Draws of two things in depth whose heights must differ as asked: a recipe's may not differ so."""
FILM = 36.0
"""Width of the camera's film (millimetres)."""
FILL = (0.66, 0.84)
"""The longer side of what both twins show, as a fraction of the frame ..."""
WITHIN = 0.94
"""... of which this much may be used."""
TURN = 35.0
"""Largest azimuth (degrees) of a camera before a wall; elsewhere it comes from anywhere."""
AREA_SHARE = 0.2
"""`min_area` is multiplied by this, since these objects are thinner than the plain ones ..."""
WIDE_AREA_SHARE = 0.06
"""... and by this where the frame is wide: two objects far apart, or three in a row."""
LEAST_PIXELS = 16
"""What fewer pixels show has no shape that could be measured."""
WIDE = ("near", "far from", "between")
ALOFT: tuple[str, ...] = ("above", "below")
"""Relations of what is in the air."""
LENS = (60.0, 120.0)
"""Focal lengths (millimetres): a shorter one makes what is near the rim, or near to the camera,
larger, so that sizes tell where a thing is ..."""
DEPTH_LENS = {"corrected": (400.0, 600.0), "true": (1600.0, 2400.0)}
"""... and, by the recipe's perspective, of two things in depth, whose sizes a shorter lens would
change too much ..."""
FARTHEST = 45.0
"""... as far as the camera is not farther away (metres) ..."""
REACH = 56.0
"""... or, with what one of two in depth stands on, not farther than this: depth maps reach to 65 m,
and things are deep."""


def sample_natural_group(
    config: ScenesConfig, seed: int, index: int, attempt: int, split: str
) -> dict[str, Any]:
    """Draw one contrast group; everything follows from the arguments.

    Raises:
        UserError: no objects of the recipe can show the relation in this split.
    """
    relation = relation_of(config, index)
    chosen = random.Random(seed_for(seed, "natural pair", index, attempt // POSES_PER_PAIR))
    frame = frame_of(config, index)
    own = frame == "object"
    way = way_of(config, index)
    keeps = in_depth_of(seed, way)
    against = 1.0 if config.perspective == "corrected" else 0.0 if way.larger else 2.0
    raised = relation in IN_DEPTH and not own and keeps.small
    asked = RAISED if raised else relation
    rng = random.Random(seed_for(seed, "natural scene", index, attempt))
    for draw in range(DRAWS):
        shapes, colours = draw_objects(chosen, config, asked, split, own)
        shapes = [shape.turned(_yaw(rng, shape)) for shape in shapes]
        environment = fitting_environment(
            rng, config, [shape.kind for shape in shapes],
            max(shape.natural for shape in shapes), "hung" if relation in ALOFT else "",
        )  # fmt: skip
        camera = _camera(rng, config, relation, own, environment)
        wide = sum(2 * shape.across for shape in shapes)
        _limit(camera, max(wide, *(shape.height for shape in shapes)))
        throw, stand = camera["lens"] / FILM / camera["fill"], None
        if own:
            shapes[1] = any_side(rng, config, shapes[1])
            arranged = arrange_by_front(rng, relation, shapes, throw)
            break
        if relation not in IN_DEPTH:
            arranged = layout.arrange(rng, relation, shapes, config.assets)
            xs = [x for twin in arranged.twins for x, *_ in twin.places.values()]
            _limit(camera, max(xs) - min(xs) + wide)
            break
        if (shapes[0].height > shapes[1].height) != keeps.first_higher:
            shapes, colours = shapes[::-1], colours[::-1]
        depth = in_depth(
            rng, shapes, keeps.edge, throw, against,
            difference=keeps.difference if draw < DIFFERENT_DRAWS else None,
        )  # fmt: skip
        if depth is not None:
            arranged = depth.arrangement(shapes, relation)
            camera["elevation"], stand = round(depth.elevation, 4), depth.stand
            camera["fill"] = round(camera["fill"] * depth.room, 4)
            _limit(camera, depth.shown, REACH)
            break
    else:
        raise impossible(relation, own)
    if not own:
        drawn, arranged = arranged, arranged.to_the(way.right)
        if stand is not None and arranged is not drawn:
            stand = stand.turned(-stand.yaw)
    group_id = f"g{index:06d}"
    keys = "abc"[: len(shapes)]
    objects = {
        key: {"kind": s.kind, "colour": c, "scale": round(s.scale, 4), "yaw": s.yaw,
              "variant": s.variant, "pose": s.pose}
        for key, s, c in zip(keys, arranged.shapes, colours, strict=True)
    }  # fmt: skip
    for made in objects.values() if frame else ():
        made["has_front"] = shows_front(config, made["kind"], made["variant"])
    if stand is not None:
        free = [c for c in catalogue(config.assets)[stand.kind].colours if c not in colours]
        free = [c for c in free if c in config.colours] or free
        objects["stand"] = {
            "kind": stand.kind, "colour": rng.choice(free), "scale": round(stand.scale, 4),
            "yaw": stand.yaw, "variant": stand.variant, "pose": stand.pose,
        }  # fmt: skip
    placed = [*objects]
    rear = max(y for twin in arranged.twins for _, y, *_ in twin.places.values())
    deepest = max(s.reach for s in arranged.shapes)
    bystanders = _bystanders(rng, config, objects, arranged, environment)
    objects.update({key: b["object"] for key, b in bystanders.items()})
    texts = _texts(seed, index, config, relation, arranged, objects)
    turn = 0.0 if own else camera["azimuth"]
    for made in objects.values():
        made["yaw"] = round(made["yaw"] + turn, 4)
    twins = []
    for letter, twin, words in zip("ab", arranged.twins, texts, strict=True):
        places = {
            key: _place(*twin.places[key], twin.growth.get(key, 1.0))
            for key in placed
            if key in twin.places
        }
        places.update({key: b["place"] for key, b in bystanders.items()})
        places = {key: turned_place(place, turn) for key, place in places.items()}
        roles = dict(zip(("subject", "object", "third"), twin.roles, strict=False))
        hangs = hung(dict(zip(keys, arranged.shapes, strict=True)), twin.places)
        scene_id = f"{group_id}-{letter}"
        record = {
            "file_name": f"images/{scene_id}.png",
            "relation": twin.relation,
            "scene_id": scene_id,
            "group_id": group_id,
            "seed": seed,
            "split": split,
            "environment": environment,
            "place": place_words(config, environment),
            **({"frame": frame} if frame else {}),
            **words,
        }
        for role in ("subject", "object", "third"):
            named = objects[roles[role]] if role in roles else {"kind": "", "colour": ""}
            record[role], record[f"{role}_colour"] = named["kind"], named["colour"]
            spoken = _thing(named, config) if role in roles else Thing("", "", wording="")
            record[f"{role}_pose"], record[f"{role}_wording"] = spoken.pose, spoken.wording
            record[f"{role}_second"] = spoken.second
            record[f"{role}_variant"] = named.get("variant", "")
        others = [o for key, o in objects.items() if key not in roles.values()]
        record["also"] = "; ".join(_thing(o, config).phrase() for o in others)
        twins.append({"relation": twin.relation, **roles, "places": places, "record": record,
                      **({"hung": hangs} if hangs else {}),
                      **({"frame": frame} if frame else {})})  # fmt: skip
    if turn:
        spots = [p for twin in twins for p in twin["places"].values()]
        rear = max(p["y"] for p in spots)
    share = WIDE_AREA_SHARE if relation in WIDE else AREA_SHARE
    group = {
        "schema": SCHEMA,
        "group_id": group_id,
        "attempt": attempt,
        "refused": [],
        **({} if own else {"in_life": True}),
        "objects": objects,
        "twins": twins,
        "camera": camera,
        "light": {
            "sun_azimuth": sun_azimuth(rng, config, turn, environment),
            "sun_elevation": _draw(rng, 30, 65),
            "sun_strength": _draw(rng, 1.7, 2.6),
            "sky_strength": _draw(rng, 0.45, 0.75),
        },
        "ground": {"grey": _draw(rng, 0.17, 0.4)},
        "environment": environment,
        **sky_turn(config, seed, index, environment),
        **look_of(rng, config, environment),
        "wall": rear + deepest + _draw(rng, 0.4, 3.0) if walled(config, environment) else None,
        "size": config.size,
        "samples": config.samples,
        "min_area": max(config.min_area * share, LEAST_PIXELS / config.size**2),
        "render_seed": rng.randrange(2**31),
    }
    light = light_words(config, environment, group["look"], group["light"]["sun_elevation"])
    for twin in twins:
        twin["record"]["light"] = light
    return group


def _limit(camera: dict[str, Any], wide: float, farthest: float = FARTHEST) -> None:
    """Shorten a lens that would be farther away than that to show so much (metres)."""
    camera["lens"] = round(min(camera["lens"], farthest * FILM * camera["fill"] / wide), 4)


def turned_place(place: dict[str, Any], turn: float) -> dict[str, Any]:
    """A place turned about the origin (degrees)."""
    if not turn:
        return place
    c, s = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    x, y = place["x"], place["y"]
    return {**place, "x": round(c * x - s * y, 4), "y": round(s * x + c * y, 4)}


def sky_turn(config: ScenesConfig, seed: int, index: int, environment: str) -> dict[str, float]:
    """The key of a group's spec that turns an environment map (degrees); none for others."""
    if environment not in user_assets(config.assets).maps:
        return {}
    rng = random.Random(seed_for(seed, "natural sky", index))
    return {"sky_turn": _draw(rng, 0, 360)}


def files_of(config: ScenesConfig, group: dict[str, Any]) -> dict[str, Any]:
    """The keys of a job that bring a group's files of the user's own; none if it has none."""
    held = user_assets(config.assets)
    used = {o["kind"] for o in group["objects"].values()}
    models = {name: held.models[name].job() for name in sorted(used) if name in held.models}
    maps = {n: m.job() for n, m in held.maps.items() if n == group.get("environment")}
    return {**({"models": models} if models else {}), **({"maps": maps} if maps else {})}


def user_files(config: ScenesConfig) -> dict[str, dict[str, str]]:
    """Licences and checksums of the files of the user's own that a recipe's scenes may show."""
    held = user_assets(config.assets)
    models = [held.models[kind] for kind in kinds(config) if kind in held.models]
    return file_notes(models, [m for n, m in held.maps.items() if n in config.environments])


def _draw(rng: random.Random, low: float, high: float) -> float:
    return round(rng.uniform(low, high), 4)


def _place(x: float, y: float, on: str | None, lift: float, growth: float = 1.0) -> dict[str, Any]:
    place = {"x": round(x, 4), "y": round(y, 4), "on": on, "lift": round(lift, 4)}
    return place if growth == 1.0 else {**place, "growth": round(growth, 4)}


def _yaw(rng: random.Random, shape: Shape) -> float:
    return _draw(rng, -55, 55) if shape.has_front else _draw(rng, 0, 360)


def _camera(
    rng: random.Random, config: ScenesConfig, relation: str, own: bool, environment: str
) -> dict[str, Any]:
    """A camera whose frame has room around the objects, which lie anywhere in it.

    Where they always lay in the middle, a rim that one relation leaves free would tell it. The
    twins' frames are equally wide, each about what its twin shows. With `own`, the relation is
    meant by the second object's front.
    """
    low, high = layout.ELEVATION.get(relation, layout.USUAL_ELEVATION)
    if own:
        low, high = frames.ELEVATION
    fill = _draw(rng, *FILL)
    room = (WITHIN - fill) / 2
    turn = 12 if own else TURN if walled(config, environment) else 180
    seen = DEPTH_LENS[config.perspective] if relation in IN_DEPTH else LENS
    lens = (50, 85) if own else seen
    return {
        "azimuth": _draw(rng, -turn, turn),
        "elevation": _draw(rng, low, high),
        "lens": _draw(rng, *lens),
        "fill": fill,
        "offset": [_draw(rng, -room, room), _draw(rng, -room, room)],
        "each": True,
    }


def _bystanders(
    rng: random.Random,
    config: ScenesConfig,
    objects: dict,
    arranged: Arrangement,
    environment: str,
) -> dict[str, dict[str, Any]]:
    """Further objects behind and beside the others, of other kinds and colours."""
    added: dict[str, dict[str, Any]] = {}
    used = {o["kind"] for o in objects.values()}, {o["colour"] for o in objects.values()}
    rear = max(y for twin in arranged.twins for _, y, *_ in twin.places.values())
    reach = max(s.reach for s in arranged.shapes)
    for n in range(rng.randint(0, config.bystanders)):
        free = [k for k in kinds(config) if k not in used[0]]
        if not free:
            break
        shape = shape_of(rng, config, rng.choice(free))
        colours = [c for c in catalogue(config.assets)[shape.kind].colours
                   if c in config.colours and c not in used[1]]  # fmt: skip
        fits = belongs(config, shape.kind, shape.natural, environment)
        fits = fits and bool(shared_places(config, [*used[0], shape.kind]))
        if not colours or shape.flies or not fits:
            continue
        colour, side = rng.choice(colours), rng.choice((-1, 1))
        used[0].add(shape.kind)
        used[1].add(colour)
        x = side * (1.1 * reach + shape.reach) * rng.uniform(0.9, 1.5)
        y = rear + reach + shape.reach + rng.uniform(0.1, 0.6)
        added[f"bystander{n}"] = {
            "object": {"kind": shape.kind, "colour": colour, "scale": round(shape.scale, 4),
                       "yaw": _yaw(rng, shape), "variant": shape.variant, "pose": shape.pose},
            "place": _place(x, y, None, 0.0),
        }  # fmt: skip
    return added


def _thing(made: dict[str, Any], config: ScenesConfig) -> Thing:
    return thing(made["kind"], made["colour"], made["pose"], config.assets, made["variant"])


def _texts(
    seed: int,
    index: int,
    config: ScenesConfig,
    relation: str,
    arranged: Arrangement,
    objects: dict[str, dict[str, Any]],
) -> list[dict[str, str]]:
    """The captions of both twins; a foil's false word is the same for both."""
    rng = random.Random(seed_for(seed, "natural foil", index))
    known = catalogue(config.assets)
    used_kinds = {o["kind"] for o in objects.values()}
    used_colours = {o["colour"] for o in objects.values()}
    used_colours |= {_thing(o, config).second for o in objects.values()}
    subject = objects[arranged.twins[0].roles[0]]
    palette = [c for c in config.colours if c not in used_colours]
    palette = palette or [c for c in assets_module().COLOURS if c not in used_colours]
    others = [k for k in kinds(config) if k not in used_kinds] or [
        k for k in sorted(known) if k not in used_kinds
    ]
    colour, kind = rng.choice(palette), rng.choice(others)
    made = []
    for twin in arranged.twins:
        named = [objects[key] for key in twin.roles]
        things = [_thing(o, config) for o in named]
        wrong = thing(kind, subject["colour"], "", config.assets)
        frame = frame_of(config, index)
        made.append(captions(twin.relation, things, colour, wrong, rng, frame))
    return made
