"""Where objects stand for a relation and for its contrast: arithmetic on footprints.

A layout only proposes. What a picture shows is measured afterwards by casting rays in the camera's
view (`blender_scenes/observe.py`), and a proposal that fails is drawn again.
"""

import math
import random
from dataclasses import replace
from pathlib import Path

from ablate2tune.scenes.shapes import fitting
from ablate2tune.scenes.shapes.shapes import Arrangement, Shape, Spot, TwinLayout
from ablate2tune.scenes.vocabulary import CONTRAST

USUAL_ELEVATION = (3.0, 24.0)
"""Camera's angle above the horizon (degrees)."""
ELEVATION = {
    "inside": (32.0, 46.0),
    "next to": (32.0, 46.0),
    "on top of": (2.0, 16.0),
    "underneath": (2.0, 16.0),
    "above": (2.0, 16.0),
    "below": (2.0, 16.0),
    "near": (10.0, 30.0),
    "far from": (10.0, 30.0),
}
LIKE_SIZE = 2.6
"""Largest ratio of sizes of two objects side by side ..."""
LIKE_SIZE_IN_DEPTH = 4.0
"""... and of two in depth, where the ratio must not tell which is nearer."""
LIKE_FOOTING = 1.6
"""Largest ratio of footprints of two objects that stand on each other."""
LARGEST_STACKED = 0.8
"""Natural size (metres) of the largest thing of two that stand on each other: no fireplace on a
drum."""
LARGEST_UNDER = 1.0
"""Natural size (metres) of the largest thing that is put under and onto furniture."""


def suits(relation: str, shapes: list[Shape], folder: Path | None = None) -> bool:
    """Whether these shapes can show a relation and its contrast; assets may be of a folder."""
    sizes = [s.size for s in shapes]
    alike = max(sizes) / min(sizes) <= LIKE_SIZE
    first, second = shapes[:2]
    if relation in ("above", "below"):
        return first.floats and second.floats and alike
    if any(s.flies for s in shapes):
        return False
    if relation in ("inside", "next to"):
        return fitting.fits_into(first, second, folder)
    if relation in ("on top of", "underneath"):
        return _fits_under(first, second, folder) or (
            first.bears and second.bears and _footing(shapes)
        )
    if relation in ("in front of", "behind"):
        return max(sizes) / min(sizes) <= LIKE_SIZE_IN_DEPTH
    return alike


def _fits_under(first: Shape, second: Shape, folder: Path | None) -> bool:
    if not second.clearance or first.grounded or first.natural > LARGEST_UNDER:
        return False
    return fitting.fits_under(first, second, folder)


def _footing(shapes: list[Shape]) -> bool:
    # A seat or a shelf with a back has no top that another thing could be exchanged onto.
    if any(s.clearance or s.holds for s in shapes):
        return False
    if max(s.natural for s in shapes) > LARGEST_STACKED:
        return False
    widths = [min(s.half) for s in shapes]
    return max(widths) / min(widths) <= LIKE_FOOTING


def arrange(
    rng: random.Random, relation: str, shapes: list[Shape], folder: Path | None = None
) -> Arrangement:
    """Places for `first RELATION second` and for the contrast, under one camera.

    `shapes` suit the relation; assets may be of a folder. What is in depth is `in_depth`'s.
    """
    if relation in FITTED:
        made = FITTED[relation](rng, shapes, folder)
        return made if made.twins[0].relation == relation else _exchanged(made)
    made = {
        "left of": _aside, "right of": _aside,
        "above": _floating, "below": _floating,
        "near": _near_and_far, "far from": _near_and_far,
        "between": _between,
    }[relation](rng, shapes)  # fmt: skip
    return made if made.twins[0].relation == relation else _exchanged(made)


def _exchanged(made: Arrangement) -> Arrangement:
    return replace(made, twins=made.twins[::-1])


def _twins(shapes: list[Shape], relation: str, one: dict, two: dict) -> Arrangement:
    roles = ("a", "b")
    return Arrangement(
        shapes, (TwinLayout(relation, roles, one), TwinLayout(CONTRAST[relation], roles, two))
    )


def _aside(rng: random.Random, shapes: list[Shape]) -> Arrangement:
    a, b = shapes
    mean = (a.across + b.across) / 2
    half = (a.across + b.across + rng.uniform(0.25, 0.7) * mean) / 2
    jitter = 0.12 * mean
    left: Spot = (-half, rng.uniform(-jitter, jitter), None, 0.0)
    right: Spot = (half, rng.uniform(-jitter, jitter), None, 0.0)
    return _twins(shapes, "left of", {"a": left, "b": right}, {"a": right, "b": left})


def _stacked(rng: random.Random, shapes: list[Shape], folder: Path | None) -> Arrangement:
    a, b = shapes
    if b.clearance:
        a, (x, y) = fitting.under_and_on(rng, a, b, folder)
        floor: Spot = (0.0, 0.0, None, 0.0)
        return _twins(
            [a, b],
            "on top of",
            {"a": (x, y, "b", 0.0), "b": floor},
            {"a": (x, y, None, 0.0), "b": floor},
        )
    slip = 0.12 * min(*a.half, *b.half)
    x, y = rng.uniform(-slip, slip), rng.uniform(-slip, slip)
    low: Spot = (0.0, 0.0, None, 0.0)
    return _twins(
        shapes,
        "on top of",
        {"a": (x, y, "b", 0.0), "b": low},
        {"a": low, "b": (x, y, "a", 0.0)},
    )


def _floating(rng: random.Random, shapes: list[Shape]) -> Arrangement:
    a, b = shapes
    lift = rng.uniform(0.25, 0.6) * (a.height + b.height) / 2 + 0.06
    slip = 0.2 * min(*a.half, *b.half)
    x, y = rng.uniform(-slip, slip), rng.uniform(-slip, slip)
    under_a, under_b = (0.5 * s.height if s.flies else 0.0 for s in shapes)
    return _twins(
        shapes,
        "above",
        {"a": (x, y, "b", lift), "b": (0.0, 0.0, None, under_b)},
        {"a": (0.0, 0.0, None, under_a), "b": (x, y, "a", lift)},
    )


def _contained(rng: random.Random, shapes: list[Shape], folder: Path | None) -> Arrangement:
    """In the container and beside it; the two as a whole are in the middle either way."""
    a, b = shapes
    a, middle = fitting.into(rng, a, b, folder)
    slip = fitting.SLIP * min(b.half)
    side = rng.choice((-1, 1))
    gap = rng.uniform(0.1, 0.35) * (a.across + b.across)
    apart = a.across + b.across + gap
    x = -side * (apart + a.across - b.across) / 2
    floor: Spot = (0.0, 0.0, None, 0.0)
    within: Spot = (*middle, "b", 0.0)
    beside: Spot = (x + side * apart, rng.uniform(-slip, slip), None, 0.0)
    return _twins(
        [a, b], "inside", {"a": within, "b": floor}, {"a": beside, "b": (x, 0.0, None, 0.0)}
    )


def _near_and_far(rng: random.Random, shapes: list[Shape]) -> Arrangement:
    """At two distances from each other, either side of the middle."""
    a, b = shapes
    turn = math.radians(rng.uniform(-40, 40)) + rng.choice((0.0, math.pi))
    x, y = math.cos(turn), math.sin(turn)
    breadth = a.across + b.across
    touch = a.across + b.across + 0.5 * abs(y) * (a.along + b.along)
    twins: list[dict[str, Spot]] = []
    for gap in (rng.uniform(0.1, 0.3), rng.uniform(1.7, 2.2)):
        half = (touch + gap * breadth) / 2
        twins.append({"a": (x * half, y * half, None, 0.0), "b": (-x * half, -y * half, None, 0.0)})
    return _twins(shapes, "near", *twins)


def _between(rng: random.Random, shapes: list[Shape]) -> Arrangement:
    """Three in a row; the twins exchange the first and the second."""
    a, b, c = shapes
    slot = max(a.across, b.across)
    gaps = [rng.uniform(0.2, 0.5) * slot for _ in range(2)]
    jitter = 0.1 * slot
    xs = (-2 * slot - gaps[0], 0.0, slot + c.across + gaps[1])
    left, middle, right = ((x, rng.uniform(-jitter, jitter), None, 0.0) for x in xs)
    mirror = rng.choice((-1, 1))
    left, middle, right = ((mirror * x, y, on, z) for x, y, on, z in (left, middle, right))
    return Arrangement(
        shapes,
        (
            TwinLayout("between", ("a", "b", "c"), {"a": middle, "b": left, "c": right}),
            TwinLayout("between", ("b", "a", "c"), {"a": left, "b": middle, "c": right}),
        ),
    )


FITTED = {
    "on top of": _stacked, "underneath": _stacked,
    "inside": _contained, "next to": _contained,
}  # fmt: skip
"""Relations of which one thing is put where it fits."""
