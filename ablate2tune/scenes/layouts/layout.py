"""Where objects stand for a relation and for its contrast: arithmetic on footprints.

A layout only proposes. What a picture shows is measured afterwards by casting rays in the camera's
view (`blender_scenes/observe.py`), and a proposal that fails is drawn again.
"""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ablate2tune.errors import UserError
from ablate2tune.scenes.assets.asset_catalogue import assets_module, find_asset
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
LARGEST_INSIDE = 1.3
"""Largest natural size of a thing that is put into another, as a multiple of the other's."""
LARGEST_UNDER = 1.0
"""Natural size (metres) of the largest thing that is put under and onto furniture."""
ROOM = 0.58
"""Share of a container's or a table's half width that a thing in or under it takes."""
STEEPNESS = 0.35
"""Sine of the camera's usual angle above the horizon, in front of and behind."""
HEADROOM = 0.8
"""Share of the free height that a thing underneath takes."""

Spot = tuple[float, float, str | None, float]
"""x, y, the key of what it rests on, lift above that (metres)."""


@dataclass(frozen=True)
class Shape:
    """An asset's look and its half extents at its displayed size, before `yaw` (degrees)."""

    kind: str
    variant: str
    pose: str
    scale: float
    half: tuple[float, float]
    height: float
    has_front: bool
    holds: bool
    clearance: float
    """Free height underneath (metres); 0: none."""
    bears: bool
    """Things can stand on it."""
    floats: bool
    flies: bool
    """Its pose is one for the air."""
    bears_things: bool = False
    """Things can stand on it somewhere, if only on its seat."""
    grounded: bool = False
    """It is not put onto other things."""
    at_wall: bool = False
    """It stands against a wall, with nothing behind it."""
    yaw: float = 0.0

    @property
    def across(self) -> float:
        """Half the extent along x as turned."""
        return self._turned(0)

    @property
    def along(self) -> float:
        """Half the extent along y as turned."""
        return self._turned(1)

    @property
    def reach(self) -> float:
        """Half the diagonal of the footprint."""
        return math.hypot(*self.half)

    @property
    def size(self) -> float:
        """The largest extent."""
        return max(2 * self.half[0], 2 * self.half[1], self.height)

    @property
    def natural(self) -> float:
        """The largest extent in life (metres)."""
        return self.size / self.scale

    def _turned(self, axis: int) -> float:
        c, s = abs(math.cos(math.radians(self.yaw))), abs(math.sin(math.radians(self.yaw)))
        return c * self.half[axis] + s * self.half[1 - axis]

    def turned(self, yaw: float) -> "Shape":
        """The shape with another yaw."""
        return replace(self, yaw=yaw)

    def resized(self, factor: float) -> "Shape":
        """The shape, larger or smaller."""
        x, y = self.half
        return replace(
            self,
            scale=self.scale * factor,
            half=(x * factor, y * factor),
            height=self.height * factor,
            clearance=self.clearance * factor,
        )


def hung(shapes: Mapping[str, Shape], places: Mapping[str, Spot]) -> list[str]:
    """Keys of what is in the air without flying; it is shown hanging on a cord."""
    return [key for key, (*_, on, lift) in places.items()
            if on and lift > 0 and not shapes[key].flies]  # fmt: skip


@dataclass(frozen=True)
class TwinLayout:
    """`roles`: keys of subject, object and perhaps third; `places` by key.

    `growth`, by key, multiplies the shapes' scales in this twin.
    """

    relation: str
    roles: tuple[str, ...]
    places: dict[str, Spot]
    growth: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Arrangement:
    """Shapes as resized for the relation, and the two twins."""

    shapes: list[Shape]
    twins: tuple[TwinLayout, TwinLayout]

    def to_the(self, right: bool) -> "Arrangement":
        """This, or its mirror image, so that the first thing of the twin whose relation comes first
        in the vocabulary is to the right, or the left, of its second.

        Left of and right of stay as they are, since they say it themselves.
        """
        first = min(self.twins, key=lambda twin: list(CONTRAST).index(twin.relation))
        one, two = (first.places[role][0] for role in first.roles[:2])
        if first.relation == "left of" or (one > two) == right:
            return self
        mirrored = [
            replace(twin, places={k: (-x, y, on, z) for k, (x, y, on, z) in twin.places.items()})
            for twin in self.twins
        ]
        return replace(self, twins=(mirrored[0], mirrored[1]))


@lru_cache(maxsize=8)
def draft(name: str, folder: Path | None, variant: str, pose: str) -> Any:
    """An asset's shapes; the last few are kept, since extents and height maps both ask for them.

    Raises:
        UserError: the asset's own code fails.
    """
    try:
        return assets_module().draft(find_asset(name, folder), variant, pose)
    except assets_module().AssetError as error:
        raise UserError(str(error), where="scenes.assets", mend="mend that file") from error


@lru_cache(maxsize=512)
def extents(name: str, folder: Path | None, variant: str, pose: str) -> tuple[float, float, float]:
    """Half width, half depth and height at natural size (metres)."""
    (x0, x1), (y0, y1), (z0, z1) = draft(name, folder, variant, pose).extents()
    return (x1 - x0) / 2, (y1 - y0) / 2, z1 - z0


def shape(name: str, variant: str, pose: str, exponent: float, folder: Path | None = None) -> Shape:
    """An asset's look at its displayed size: natural size ** exponent (metres)."""
    asset = find_asset(name, folder)
    x, y, z = extents(name, folder, variant, pose)
    scale = max(2 * x, 2 * y, z) ** (exponent - 1)
    return Shape(
        asset.name, variant, pose, scale, (x * scale, y * scale), z * scale, asset.has_front,
        variant in asset.holds, asset.shelters.get(variant, 0.0) * scale, asset.solid_top,
        asset.floats and (not asset.flies or pose in asset.flies), pose in asset.flies,
        asset.solid_top or bool(asset.shelters), asset.grounded,
        asset.one_sided and asset.places == ("indoors",) and variant not in asset.faceless,
    )  # fmt: skip


def suits(relation: str, shapes: list[Shape]) -> bool:
    """Whether these shapes can show a relation and its contrast."""
    sizes = [s.size for s in shapes]
    alike = max(sizes) / min(sizes) <= LIKE_SIZE
    first, second = shapes[:2]
    if relation in ("above", "below"):
        return first.floats and second.floats and alike
    if any(s.flies for s in shapes):
        return False
    if relation in ("inside", "next to"):
        small = first.natural <= LARGEST_INSIDE * second.natural
        return second.holds and small and not first.holds and not first.clearance
    if relation in ("on top of", "underneath"):
        return _fits_under(first, second) or (first.bears and second.bears and _footing(shapes))
    if relation in ("in front of", "behind"):
        return max(sizes) / min(sizes) <= LIKE_SIZE_IN_DEPTH
    return alike


def _fits_under(first: Shape, second: Shape) -> bool:
    small = first.size < second.size and first.natural <= LARGEST_UNDER
    return second.clearance > 0 and not first.clearance and small


def _footing(shapes: list[Shape]) -> bool:
    # A seat or a shelf with a back has no top that another thing could be exchanged onto.
    if any(s.clearance or s.holds for s in shapes):
        return False
    if max(s.natural for s in shapes) > LARGEST_STACKED:
        return False
    widths = [min(s.half) for s in shapes]
    return max(widths) / min(widths) <= LIKE_FOOTING


def arrange(rng: random.Random, relation: str, shapes: list[Shape], throw: float) -> Arrangement:
    """Places for `first RELATION second` and for the contrast, under one camera.

    `throw` is the camera's distance as a multiple of what its frame holds (see `_in_depth`).
    """
    if relation in ("in front of", "behind"):
        made = _in_depth(rng, shapes, throw)
        return made if relation == "in front of" else _exchanged(made)
    made = {
        "left of": _aside, "right of": _aside,
        "on top of": _stacked, "underneath": _stacked,
        "above": _floating, "below": _floating,
        "inside": _contained, "next to": _contained,
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


def _in_depth(rng: random.Random, shapes: list[Shape], throw: float) -> Arrangement:
    """One before the other, the one in the rear enlarged so that sizes in the frame do not tell.

    The distance follows from what the frame must hold: the width of the two as they stand aside,
    or the higher one above the depth of both as seen from above.
    """
    a, b = shapes
    slack = rng.uniform(0.15, 0.5) * (a.along + b.along) / 2
    half = (a.along + b.along + slack) / 2
    wide, narrow = max(a.across, b.across), min(a.across, b.across)
    step = rng.choice((-1, 1)) * (wide - rng.uniform(0.05, 0.6) * narrow) / 2
    held = max(2 * abs(step) + a.across + b.across, max(a.height, b.height) + 2 * half * STEEPNESS)
    distance = throw * held + half
    growth = math.sqrt((distance + half) / (distance - half))
    half = (
        max(a.along / growth + b.along * growth, a.along * growth + b.along / growth) + slack
    ) / 2
    front: Spot = (-step, -half, None, 0.0)
    rear: Spot = (step, half, None, 0.0)
    made = _twins(shapes, "in front of", {"a": front, "b": rear}, {"a": rear, "b": front})
    sizes = ({"a": 1 / growth, "b": growth}, {"a": growth, "b": 1 / growth})
    one, two = (replace(t, growth=g) for t, g in zip(made.twins, sizes, strict=True))
    return replace(made, twins=(one, two))


def _stacked(rng: random.Random, shapes: list[Shape]) -> Arrangement:
    a, b = shapes
    if b.clearance:
        factor = min(
            1.0,
            HEADROOM * b.clearance / a.height,
            ROOM * min(b.half) / a.reach,
        )
        a = a.resized(factor)
        reach = max(0.0, 0.5 * (min(b.half) - a.reach))
        x, y = rng.uniform(-reach, reach), rng.uniform(-reach, 0.2 * reach)
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


def _contained(rng: random.Random, shapes: list[Shape]) -> Arrangement:
    """In the container and beside it; the two as a whole are in the middle either way."""
    a, b = shapes
    factor = min(ROOM * min(b.half) / a.reach, 1.7 * b.height / a.height)
    a = a.resized(factor)
    slip = 0.1 * min(b.half)
    side = rng.choice((-1, 1))
    gap = rng.uniform(0.1, 0.35) * (a.across + b.across)
    apart = a.across + b.across + gap
    x = -side * (apart + a.across - b.across) / 2
    floor: Spot = (0.0, 0.0, None, 0.0)
    within: Spot = (rng.uniform(-slip, slip), rng.uniform(-slip, slip), "b", 0.0)
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
