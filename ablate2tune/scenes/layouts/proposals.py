"""Places for one relation alone, whatever its contrast: arithmetic on footprints and height maps.

Where `layout` arranges a pair of twins that exchange places, this makes one scene of objects at
their sizes in life, so that it also knows what has no reverse: a dog on a car, a person in front of
a building. Like any layout it only proposes; the camera's view decides.
"""

import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ablate2tune.scenes.shapes.fitting import on_ground, own_half
from ablate2tune.scenes.shapes.height_maps import HeightMap, height_map
from ablate2tune.scenes.shapes.shapes import Shape, Spot
from ablate2tune.scenes.vocabulary import with_article

Places = dict[str, Spot]
LARGEST_RATIO = 8.0
"""Sizes that differ more are brought together: by half of what lies beyond, as logarithms."""
TOO_SMALL = 14.0
"""A thing so many times smaller than the other, after that, would be a few pixels."""
SEEN_THROUGH = 0.3
"""Free height below (as a fraction of its own) of what one sees through, such as a table."""
SHELTERED = 0.3
"""Fraction of its footprint that must have free height for a thing to stand over others."""
INWARD = 0.1
"""What is over a thing reaches further by so much of its own half width, where there is room."""
LIKE_WIDTH = 0.6
"""From this width and height on, as a fraction of the rear thing's, the one in front hides it."""
HIDDEN = 0.6
"""A thing lower and narrower than so much of a solid one is not seen behind it."""
SHARED = (0.38, 0.5)
"""Part of the narrower one's width that the two share then, so that what is behind looks out."""
ASIDE = 0.4
"""Behind what one sees through, slats perhaps, a thing stands at least so much of how far it may
aside."""
LEAST_RESIZED = 0.55
"""What is put into another may be made so much smaller than in life."""
ROW_RATIO = 2.6
"""Largest ratio of widths of three in a row."""


def in_proportion(shapes: list[Shape]) -> list[Shape] | str:
    """The shapes at sizes at which one picture can show all, or why none could."""
    big = max(shapes, key=lambda s: s.size)
    made = []
    for shape in shapes:
        ratio = big.natural / shape.natural
        if ratio > LARGEST_RATIO:
            shown = LARGEST_RATIO * math.sqrt(ratio / LARGEST_RATIO)
            if shown > TOO_SMALL:
                return (
                    f"{with_article(shape.kind)} is {ratio:.0f} times smaller than "
                    f"{with_article(big.kind)}"
                )
            # Birds are of any size.
            shown = LARGEST_RATIO if shape.flies else shown
            shape = shape.resized(max(1.0, big.size / shown / shape.size))
        made.append(shape)
    return made


def propose(
    rng: random.Random, relation: str, shapes: list[Shape], folder: Path | None = None
) -> tuple[list[Shape], Places] | str:
    """Shapes as resized and places of `first RELATION second (and third)`, or why there are none.

    x points right and y away from the camera.

    Raises:
        KeyError: an unknown relation.
    """
    if any(s.flies for s in shapes) and relation not in ("above", "below"):
        flying = next(s for s in shapes if s.flies)
        return f"{with_article(flying.kind)} that flies stands nowhere"
    made = in_proportion(shapes)
    if isinstance(made, str):
        return made
    if relation == "between":
        return _between(rng, made)
    if relation in MIRRORED:
        mirrored = PROPOSALS[MIRRORED[relation]](rng, made[1], made[0], folder)
        if isinstance(mirrored, str):
            return mirrored
        (b, a), places = mirrored
        swap = {"a": "b", "b": "a", None: None}
        return [a, b], {
            str(swap[key]): (x, y, swap[on], lift) for key, (x, y, on, lift) in places.items()
        }
    return PROPOSALS[relation](rng, made[0], made[1], folder)


Made = tuple[list[Shape], Places] | str


def _beside(rng: random.Random, a: Shape, b: Shape, gap: float) -> tuple[float, float]:
    """Distance of the middles and how far the smaller stands before the other's middle."""
    apart = a.across + b.across + gap
    most = min(0.3 * apart, 0.9 * abs(a.along - b.along) + 0.05 * apart)
    return apart, rng.uniform(-most, 0.4 * most)


def _left_of(rng: random.Random, a: Shape, b: Shape, folder: Path | None) -> Made:
    apart, along = _beside(rng, a, b, rng.uniform(0.15, 0.8) * 2 * min(a.across, b.across))
    nearer = (-apart, along) if a.along < b.along else (-apart, -along)
    return [a, b], {"a": (*nearer, None, 0.0), "b": (0.0, 0.0, None, 0.0)}


def _next_to(rng: random.Random, a: Shape, b: Shape, folder: Path | None) -> Made:
    gap = rng.uniform(0.05, 0.5) * min(a.across, b.across) + 0.02 * b.size
    apart, along = _beside(rng, a, b, gap)
    side = rng.choice((-1, 1))
    along = along if a.along < b.along else -along
    return [a, b], {"a": (side * apart, along, None, 0.0), "b": (0.0, 0.0, None, 0.0)}


def _in_front_of(rng: random.Random, a: Shape, b: Shape, folder: Path | None) -> Made:
    """One line of sight, in which enough of the rear one is seen."""
    if a.at_wall:
        return f"nothing is behind {with_article(a.kind)}, which stands against a wall"
    gap = rng.uniform(0.2, 1.1) * min(a.size, b.size)
    # Of a tree, what is before or behind a cat is its stem.
    before, rear = _lower_part(a, b.height, folder), _lower_part(b, a.height, folder)
    if b.height < HIDDEN * a.height and b.across < HIDDEN * before and not a.clearance:
        return f"{with_article(a.kind)} hides {with_article(b.kind)} that is behind it"
    narrow, wide = sorted((before, rear))
    seen_through = a.clearance > SEEN_THROUGH * a.height
    hides = before > LIKE_WIDTH * b.across and a.height > LIKE_WIDTH * b.height
    if seen_through or not hides:
        # A thin thing in the rear, such as a stem, is all behind the other.
        most = wide - narrow + (0.5 * narrow if seen_through or rear >= before else 0.0)
        aside = rng.choice((-1, 1)) * rng.uniform(ASIDE if seen_through else 0.0, 1.0) * most
    else:
        aside = rng.choice((-1, 1)) * (wide + narrow - 2 * narrow * rng.uniform(*SHARED))
    front: Spot = (aside, -(a.along + b.along + gap), None, 0.0)
    return [a, b], {"a": front, "b": (0.0, 0.0, None, 0.0)}


def _lower_part(shape: Shape, height: float, folder: Path | None) -> float:
    """Half the extent along x of what of a shape lies below a height."""
    x, y = _map_of(shape, folder).below(height / shape.height)
    return replace(shape, half=(x * shape.scale, y * shape.scale)).across


def _on_top_of(rng: random.Random, a: Shape, b: Shape, folder: Path | None) -> Made:
    if not b.bears_things:
        return f"nothing can stand on {with_article(b.kind)}"
    tops = _map_of(b, folder).tops
    # A cat fits onto a bench along it.
    sideways = [a.turned(b.yaw + turn) for turn in rng.sample((-90.0, 90.0), 2)]
    for turned in (a, *sideways):
        spots = tops(own_half(turned, b))
        if spots:
            break
    else:
        return f"{with_article(a.kind)} is too large to stand on {with_article(b.kind)}"
    return [turned, b], {"a": (*on_ground(rng.choice(spots), b), "b", 0.0), "b": (0, 0, None, 0.0)}


def _underneath(rng: random.Random, a: Shape, b: Shape, folder: Path | None) -> Made:
    """Below the other's free height; of two solid things, the other stands on it."""
    known = _map_of(b, folder)
    free = (known.bottom < math.inf) & (known.bottom > 0.1 * known.top.max())
    if free.mean() < SHELTERED:
        over = _on_top_of(rng, b, a, folder)
        if isinstance(over, str):
            return f"{with_article(b.kind)} has no room below it"
        return [a, b], {"a": (0.0, 0.0, None, 0.0), "b": (*over[1]["a"][:2], "a", 0.0)}
    asked = own_half(a, b), 1.05 * a.height / b.scale
    # At the rim it would look as if it stood beside.
    spots = known.shelters(*asked, INWARD * min(b.half) / b.scale) or known.shelters(*asked)
    if not spots:
        return f"{with_article(a.kind)} is too large to fit below {with_article(b.kind)}"
    # Nearer to the camera it is seen better.
    places = sorted((on_ground(spot, b) for spot in spots), key=lambda spot: spot[1])
    x, y = places[int(rng.random() * 0.6 * len(places))]
    return [a, b], {"a": (x, y, None, 0.0), "b": (0.0, 0.0, None, 0.0)}


def _inside(rng: random.Random, a: Shape, b: Shape, folder: Path | None) -> Made:
    if not b.holds:
        return f"nothing fits into {with_article(b.kind)}"
    factor = min(1.0, 0.62 * min(b.half) / a.reach, 1.7 * b.height / a.height)
    if factor < LEAST_RESIZED or a.holds or a.clearance:
        return f"{with_article(a.kind)} is too large to fit into {with_article(b.kind)}"
    slip = 0.1 * min(b.half)
    within: Spot = (rng.uniform(-slip, slip), rng.uniform(-slip, slip), "b", 0.0)
    return [a.resized(factor), b], {"a": within, "b": (0.0, 0.0, None, 0.0)}


def _above(rng: random.Random, a: Shape, b: Shape, folder: Path | None) -> Made:
    if not a.floats:
        return f"{with_article(a.kind)} cannot hang in the air"
    lift = rng.uniform(0.15, 0.4) * (a.height + 0.4 * b.height) + 0.08
    x, y = (rng.uniform(-0.3, 0.3) * h for h in b.half)
    return [a, b], {"a": (x, y, "b", lift), "b": (0.0, 0.0, None, 0.5 * b.height * b.flies)}


def _apart(rng: random.Random, a: Shape, b: Shape, breadths: float) -> Made:
    turn = math.radians(rng.uniform(-35, 35)) + rng.choice((0.0, math.pi))
    x, y = math.cos(turn), math.sin(turn)
    breadth = max(a.across, a.along) + max(b.across, b.along)
    away = a.across + b.across + 0.5 * abs(y) * (a.along + b.along) + breadths * breadth
    return [a, b], {"a": (x * away, y * away, None, 0.0), "b": (0.0, 0.0, None, 0.0)}


def _near(rng: random.Random, a: Shape, b: Shape, folder: Path | None) -> Made:
    return _apart(rng, a, b, rng.uniform(0.08, 0.3))


def _far_from(rng: random.Random, a: Shape, b: Shape, folder: Path | None) -> Made:
    return _apart(rng, a, b, rng.uniform(1.65, 2.1))


def _between(rng: random.Random, shapes: list[Shape]) -> Made:
    """Three in a row, the first in the middle."""
    a, b, c = shapes
    widths = sorted(s.across for s in shapes)
    if widths[-1] > ROW_RATIO * widths[0]:
        return "the sizes of the three differ too much to be seen in a row"
    gaps = [rng.uniform(0.2, 0.6) * 2 * widths[0] for _ in range(2)]
    along = [rng.uniform(-0.15, 0.15) * widths[0] for _ in range(3)]
    side = rng.choice((-1, 1))
    xs = 0.0, -side * (a.across + b.across + gaps[0]), side * (a.across + c.across + gaps[1])
    return shapes, {k: (x, y, None, 0.0) for k, x, y in zip("abc", xs, along, strict=True)}


def _map_of(shape: Shape, folder: Path | None) -> HeightMap:
    return height_map(shape.kind, shape.variant, shape.pose, folder)


PROPOSALS: dict[str, Callable[[random.Random, Shape, Shape, Path | None], Made]] = {
    "left of": _left_of,
    "in front of": _in_front_of,
    "on top of": _on_top_of,
    "underneath": _underneath,
    "inside": _inside,
    "above": _above,
    "next to": _next_to,
    "near": _near,
    "far from": _far_from,
}
MIRRORED = {"right of": "left of", "behind": "in front of", "below": "above"}
