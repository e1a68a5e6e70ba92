"""Drawing groups for `scenes.prompts`: one picture shows the sentence, the other its contrast.

Same format as `natural`. The two pictures have the same objects, colours and light; each has a
camera of its own, since what stands on a car and what stands before it need other frames.
"""

import math
import random
from typing import Any, Literal

from ablate2tune.errors import UserError
from ablate2tune.scenes.assets.asset_catalogue import catalogue
from ablate2tune.scenes.captions import Thing, captions, thing
from ablate2tune.scenes.layouts.natural import ALOFT, FILL, LEAST_PIXELS, WITHIN, sky_turn
from ablate2tune.scenes.layouts.proposals import Places, propose
from ablate2tune.scenes.layouts.scene_sampling import POSES_PER_PAIR, SCHEMA
from ablate2tune.scenes.layouts.surroundings import (
    fitting_environment,
    light_words,
    look_of,
    place_words,
    sun_azimuth,
    walled,
)
from ablate2tune.scenes.prompts.prompt_plans import Plan, draw_shapes, plans_of
from ablate2tune.scenes.prompts.told_apart import alike, lost
from ablate2tune.scenes.scenes_config import ScenesConfig
from ablate2tune.scenes.shapes.shapes import Shape, Spot, hung
from ablate2tune.scenes.vocabulary import CONTRAST, is_holdout
from ablate2tune.seeding import seed_for

ELEVATION = {
    "inside": (28.0, 42.0),
    "in front of": (3.0, 16.0),
    "behind": (3.0, 16.0),
    "underneath": (2.0, 12.0),
    "on top of": (2.0, 16.0),
    "above": (2.0, 12.0),
    "below": (2.0, 12.0),
}
"""Camera's angle above the horizon (degrees) ..."""
USUAL_ELEVATION = (6.0, 24.0)
"""... and for other relations."""
LENS = (35.0, 70.0)
"""Focal lengths (millimetres on a film of 36)."""
FOCUS_RATIO = 4.0
"""From this ratio of sizes on, the frame is about the smaller thing, and cuts the larger one."""
SMALLER_FILLS = 4.5
"""Such a frame is at least this many times as wide as the smaller thing ..."""
LARGER_SHOWS, TALL_SHOWS = 0.65, 0.9
"""... and as this much of the larger one, more if it is tall or one is in the air."""
FREE_HEIGHT = 1.25
"""A frame shows so much more than the free height below what something is under."""
WIDE = ("near", "far from", "between")
"""Relations whose frame holds everything whole."""
AREA_SHARE = 0.08
"""`min_area` is multiplied by this: things have their sizes in life ..."""
WIDE_AREA_SHARE = 0.03
"""... and are small where the frame is wide, and before the sky."""
LOOKED_UP = 0.3
"""Margin above what is in the air, as a fraction of the others."""
TURN = 35.0
"""Largest azimuth (degrees) of a camera before a wall."""
CLEAR_DRAWS = 100
"""Draws of colours that are told apart at a glance, before any others are taken."""
DRAWS = 400
"""Draws of looks, and of colours, before one is given up."""


def sample_prompt_group(
    config: ScenesConfig, seed: int, index: int, attempt: int, split: str
) -> dict[str, Any]:
    """Draw the group of the sentence whose turn it is; everything follows from the arguments.

    Raises:
        UserError: none of the recipe's sentences can be shown, or not in its colours.
    """
    plan = plan_of(config, index)
    shown = random.Random(seed_for(seed, "prompt contrast", index)).choice(
        plan.contrasts or (plan.relation,)
    )
    pair = random.Random(seed_for(seed, "prompt things", index, attempt // POSES_PER_PAIR))
    kinds = [asked.kind for asked in plan.prompt.things]
    looks = draw_shapes(pair, plan.prompt.things, config.assets)
    largest = max(shape.natural for shape in looks)
    aloft = _aloft(config, plan.relation, kinds) or _aloft(config, shown, kinds)
    environment = fitting_environment(pair, config, kinds, largest, aloft)
    colours = _colours(pair, config, plan, split, environment)
    rng = random.Random(seed_for(seed, "prompt scene", index, attempt))
    shapes, arranged = _both(rng, config, plan, shown)
    azimuth = _draw(rng, -TURN, TURN) if walled(config, environment) else _draw(rng, 0, 360)
    keys = "abc"[: len(shapes)]
    objects = {
        key: {"kind": s.kind, "colour": colour, "scale": round(s.scale, 4),
              "yaw": round(s.yaw + azimuth, 4), "variant": s.variant, "pose": s.pose}
        for key, s, colour in zip(keys, shapes, colours, strict=True)
    }  # fmt: skip
    group_id = f"g{index:06d}"
    twins = []
    for letter, relation, other in (("a", plan.relation, shown), ("b", shown, plan.relation)):
        other = CONTRAST[relation] if other == relation else other
        swapped = relation == "between" and letter == "b"
        roles = dict(zip(("subject", "object", "third"), "bac" if swapped else keys, strict=False))
        roles = {role: key for role, key in roles.items() if key in keys}
        scene_id = f"{group_id}-{letter}"
        hangs = hung(dict(zip(keys, shapes, strict=True)), arranged[letter])
        twins.append({
            "relation": relation,
            "contrast": other,
            **roles,
            "places": {k: _turned(spot, azimuth) for k, spot in arranged[letter].items()},
            "camera": _camera(rng, relation, azimuth, shapes),
            **({"hung": hangs} if hangs else {}),
            "record": {
                "file_name": f"images/{scene_id}.png",
                "relation": relation,
                "contrast": other,
                "prompt": plan.prompt.text if relation == plan.relation and not swapped else "",
                "scene_id": scene_id,
                "group_id": group_id,
                "seed": seed,
                "split": split,
                "environment": environment,
                "place": place_words(config, environment),
                **_words(seed, index, config, objects, relation, other, list(roles.values())),
            },
        })  # fmt: skip
    spots = [spot for places in arranged.values() for spot in places.values()]
    rear = max(math.hypot(x, y) for x, y, *_ in spots) + max(s.reach for s in shapes)
    wide = {plan.relation, shown} & {*WIDE, *ALOFT}
    group = {
        "schema": SCHEMA,
        "group_id": group_id,
        "attempt": attempt,
        "refused": [],
        "in_life": True,
        "objects": objects,
        "twins": twins,
        "light": {
            "sun_azimuth": sun_azimuth(rng, config, azimuth, environment),
            "sun_elevation": _draw(rng, 25, 65),
            "sun_strength": _draw(rng, 1.7, 2.8),
            "sky_strength": _draw(rng, 0.45, 0.8),
        },
        "ground": {"grey": _draw(rng, 0.17, 0.4)},
        "environment": environment,
        **sky_turn(config, seed, index, environment),
        **look_of(rng, config, environment),
        "wall": rear + _draw(rng, 0.3, 2.5) if walled(config, environment) else None,
        "size": config.size,
        "samples": config.samples,
        "min_area": max(
            config.min_area * (WIDE_AREA_SHARE if wide else AREA_SHARE),
            LEAST_PIXELS / config.size**2,
        ),
        "render_seed": rng.randrange(2**31),
    }
    light = light_words(config, environment, group["look"], group["light"]["sun_elevation"])
    for twin in twins:
        twin["record"]["light"] = light
    return group


def _aloft(config: ScenesConfig, relation: str, kinds: list[str]) -> Literal["", "hung", "flying"]:
    """Whether the upper one of two things hangs in the air or flies."""
    upper = dict(zip(ALOFT, kinds, strict=False)).get(relation)
    if upper is None:
        return ""
    return "flying" if catalogue(config.assets)[upper].flies else "hung"


def plan_of(config: ScenesConfig, index: int) -> Plan:
    """The sentence of a group; they take turns."""
    plans, _ = plans_of(config)
    return plans[index % len(plans)]


def prompt_relation(config: ScenesConfig, index: int) -> str:
    """The relation that the first picture of a group shows."""
    return plan_of(config, index).relation


def _both(
    rng: random.Random, config: ScenesConfig, plan: Plan, contrast: str
) -> tuple[list[Shape], dict[str, Places]]:
    """Looks and turns, and the places in the sentence's picture ("a") and its contrast's ("b")."""
    things, folder = plan.prompt.things, config.assets
    for _ in range(DRAWS):
        shapes = draw_shapes(rng, things, folder)
        asked = [("a", plan.relation), ("b", contrast)]
        # What is put into another is made smaller, in both pictures.
        asked.sort(key=lambda part: part[1] != "inside")
        made: dict[str, Places] = {}
        for letter, relation in asked:
            swapped = relation == "between" and letter == "b"
            ordered = [shapes[k] for k in (1, 0, 2)] if swapped else shapes
            proposed = propose(rng, relation, ordered, folder)
            if isinstance(proposed, str):
                break
            shapes, places = proposed
            if swapped:
                shapes = [shapes[k] for k in (1, 0, 2)]
                places = {**places, "a": places["b"], "b": places["a"]}
            made[letter] = places
        if len(made) == 2:
            return shapes, made
    raise UserError(
        f"no look shows both {plan.relation!r} and {contrast!r}",
        where=f"scenes.prompts: {plan.prompt.text!r}",
        mend="leave it out",
    )


def _colours(
    rng: random.Random, config: ScenesConfig, plan: Plan, split: str, environment: str
) -> list[str]:
    """A colour for each thing, all different where the sentence leaves it open.

    Pairs belong to the split, unless the sentence names both colours. Where others are left, none
    is like another or like the ground.
    """
    things = plan.prompt.things
    known = catalogue(config.assets)
    for draw in range(DRAWS):
        drawn: list[str] = []
        for k, asked in enumerate(things):
            up = ALOFT[k : k + 1] == (plan.relation,)
            free = [c for c in known[asked.kind].colours if c in config.colours and c not in drawn]
            if draw < CLEAR_DRAWS:
                free = [c for c in free if not lost(config, c, environment, up)]
                free = [c for c in free if not any(alike(c, one) for one in drawn)]
            free = [asked.colour] if asked.colour else free
            if not free:
                break
            drawn.append(rng.choice(free))
        if len(drawn) < len(things):
            continue
        first, second = (f"{c} {t.kind}" for c, t in zip(drawn[:2], things[:2], strict=True))
        fixed = all(asked.colour for asked in things[:2])
        if fixed or is_holdout(first, second, config.holdout) == (split == "test"):
            return drawn
    raise UserError(
        f"no colours are left for the {split} split",
        where=f"scenes.prompts: {plan.prompt.text!r}",
        mend="add to scenes.colours, or change scenes.holdout",
    )


def _camera(
    rng: random.Random, relation: str, azimuth: float, shapes: list[Shape]
) -> dict[str, Any]:
    low, high = ELEVATION.get(relation, USUAL_ELEVATION)
    fill = _draw(rng, *FILL)
    room = (WITHIN - fill) / 2
    camera = {
        "azimuth": azimuth,
        "elevation": _draw(rng, low, high),
        "lens": _draw(rng, *LENS),
        "fill": fill,
        "offset": [_draw(rng, -room, room), _draw(rng, -room, room)],
    }
    sizes = [shape.size for shape in shapes]
    small, large = min(sizes), max(sizes)
    larger = shapes[sizes.index(large)]
    tall = larger.height == large or relation in ALOFT
    shows = TALL_SHOWS if tall else LARGER_SHOWS
    if large >= FOCUS_RATIO * small and relation not in WIDE:
        margin = (max(SMALLER_FILLS * small, shows * large) - small) / 2
        on = "abc"[sizes.index(small)]
        camera["focus"] = {"on": on, "margin": round(margin, 4)}
        if on == dict(zip(ALOFT, "ab", strict=True)).get(relation):
            # What is in the air is looked up to, so that more of the other is in the frame.
            camera["focus"]["up"] = round(LOOKED_UP * margin, 4)
        if relation == "underneath" and on == "a":
            over = FREE_HEIGHT * larger.clearance or larger.height
            camera["focus"]["up"] = round(max(margin, over - shapes[0].height), 4)
    return camera


def _turned(spot: Spot, azimuth: float) -> dict[str, Any]:
    x, y, on, lift = spot
    c, s = math.cos(math.radians(azimuth)), math.sin(math.radians(azimuth))
    turned = round(c * x - s * y, 4), round(s * x + c * y, 4)
    return {"x": turned[0], "y": turned[1], "on": on, "lift": round(lift, 4)}


def _words(
    seed: int,
    index: int,
    config: ScenesConfig,
    objects: dict[str, dict[str, Any]],
    relation: str,
    contrast: str,
    roles: list[str],
) -> dict[str, Any]:
    """Captions and foils, and who the named things are."""
    rng = random.Random(seed_for(seed, "prompt words", index))
    known = catalogue(config.assets)
    made = {
        key: thing(o["kind"], o["colour"], o["pose"], config.assets, o["variant"])
        for key, o in objects.items()
    }
    used = {colour for named in made.values() for colour in (named.colour, named.second)}
    free = [c for c in config.colours if c not in used]
    colour = rng.choice(free or [c for c in ("red", "green", "blue", "white") if c not in used])
    others = [kind for kind in sorted(known) if kind not in {o["kind"] for o in objects.values()}]
    wrong = thing(rng.choice(others), objects[roles[0]]["colour"], "", config.assets)
    things = [made[key] for key in roles]
    words: dict[str, Any] = captions(relation, things, colour, wrong, rng, contrast=contrast)
    nobody = Thing("", "", wording="")
    for role, named in zip(("subject", "object", "third"), [*things, nobody][:3], strict=False):
        words[role], words[f"{role}_colour"] = named.kind, named.colour
        words[f"{role}_pose"], words[f"{role}_wording"] = named.pose, named.wording
        words[f"{role}_second"] = named.second
    for role, key in zip(("subject", "object", "third"), (*roles, "")[:3], strict=False):
        words[f"{role}_variant"] = objects[key]["variant"] if key else ""
    return {**words, "also": ""}


def _draw(rng: random.Random, low: float, high: float) -> float:
    return round(rng.uniform(low, high), 4)
