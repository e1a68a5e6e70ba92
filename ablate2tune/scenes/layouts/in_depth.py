"""One thing before another, with whose lower edge is the lower one drawn first.

On level ground what is nearer always ends lower in the picture, which tells the relation without a
look at who hides whom. So the difference of the lower edges is drawn, as often one way as the
other and as large, and what makes it so is looked for: low furniture under one of the two places,
and the camera's elevation.
"""

import math
import random
from dataclasses import dataclass
from pathlib import Path

from ablate2tune.scenes.shapes.height_maps import height_map
from ablate2tune.scenes.shapes.shapes import Arrangement, Shape, Spot, TwinLayout, shape

STANDS = {
    "bench": ("plain", "stone"),
    "box": ("taped", "chest", "gift"),
    "cube": ("sharp", "rounded", "framed"),
    "cylinder": ("flat", "drum"),
    "shelf": ("low",),
    "table": ("dining", "painted", "round"),
}
"""What the nearer or the farther thing may stand on."""
RESIZED = ("box", "cube", "cylinder")
"""Kinds that may have any size: made to fit what stands on them, up to ..."""
LARGEST_STAND = 0.9
"""... this width (metres)."""
TILT = (1.5, 26.0)
"""Camera's angle above the horizon (degrees)."""
SHIFT = 0.8
"""Part of what perspective makes the nearer one higher that is put below its lower edge, so that
middles and upper edges go either way as well."""
LOW = 0.8
"""Height of what one stands on at most, as a fraction of the lower thing's: they share a height."""
LEAST_SHARED = 0.35
"""Part of the lower thing's height, at least, in which the two are side by side in the picture."""
WIDEST = 0.76
"""Width (metres) of the largest thing that stands on something."""
HIGHEST = 1.1
"""Height (metres) of the highest: no floor lamp on a table."""
SEARCH = 60
STANDLESS = 8
"""Searches for a stand in a row that find none, before it is given up."""


@dataclass(frozen=True)
class Depth:
    """Two things in depth: places of the nearer and the farther, and what they stand on.

    `nearer` and `farther` are (x, y); `growth` is what the farther is larger and the nearer smaller
    by than the two are; `stand` carries the nearer one where `raised` is "nearer".
    """

    nearer: tuple[float, float]
    farther: tuple[float, float]
    elevation: float
    growth: float
    stand: Shape | None
    raised: str | None
    room: float = 1.0
    """What the frame's fill is multiplied by."""
    shown: float = 0.0
    """The larger extent of all that the frame shows, the stand included (metres)."""

    def arrangement(self, shapes: list[Shape], relation: str) -> Arrangement:
        """Twins of which the first shows `a RELATION b`; they have exchanged places."""
        twins = [
            TwinLayout(
                name, ("a", "b"), self._places(near, far),
                {near: 1 / self.growth, far: self.growth} if self.growth != 1.0 else {},
            )
            for name, near, far in (("in front of", "a", "b"), ("behind", "b", "a"))
        ]  # fmt: skip
        one, two = twins if relation == "in front of" else twins[::-1]
        return Arrangement(shapes, (one, two))

    def _places(self, near: str, far: str) -> dict[str, Spot]:
        on = {key: "stand" if self.raised == who else None
              for key, who in ((near, "nearer"), (far, "farther"))}  # fmt: skip
        made: dict[str, Spot] = {
            near: (*self.nearer, on[near], 0.0),
            far: (*self.farther, on[far], 0.0),
        }
        if self.stand is not None:
            made["stand"] = (*(self.nearer if self.raised == "nearer" else self.farther), None, 0.0)
        return made


def may_stand(shape: Shape) -> bool:
    """Whether it may stand on something, and is small enough for it."""
    small = 2 * max(shape.half) <= WIDEST and shape.height <= HIGHEST
    return small and not shape.grounded


def in_depth(
    rng: random.Random,
    shapes: list[Shape],
    edge: float,
    throw: float,
    against: float,
    folder: Path | None = None,
    difference: tuple[float, float] | None = None,
) -> Depth | None:
    """Places at which the nearer of two ends lower by about `edge`, whichever of them it is.

    Args:
        shapes: the two things as turned.
        edge: fraction of what the frame shows; negative where the nearer one ends higher.
        throw: the camera's distance as a multiple of what its frame holds.
        against: how often over the sizes undo what perspective does: 0.0 not at all, 1.0 so that
            both look as large wherever they stand, 2.0 so that the nearer looks smaller by as much
            as perspective makes it larger.
        difference: least and most of the difference of their heights, of what the frame shows.

    Returns:
        None if none was found.
    """
    a, b = shapes
    raised, standless = "nearer" if edge < 0 else None, 0
    apart, tallest = abs(a.height - b.height), max(a.height, b.height)
    if difference and apart < difference[0] * tallest:
        return None
    for _ in range(SEARCH):
        stand = _stand(rng, shapes, folder)
        if stand is None and (raised or all(map(may_stand, shapes))):
            standless += 1
            if standless == STANDLESS:
                return None
            continue
        depth = [s.along for s in (*shapes, *([stand] if stand else []))]
        gap = 2 * max(depth) + rng.uniform(0.05, 0.5) * (a.along + b.along)
        wide, narrow = max(a.across, b.across), min(a.across, b.across)
        step = rng.choice((-1, 1)) * (wide - rng.uniform(0.0, 0.45) * narrow)
        wide, tall, half = (
            abs(step) + a.across + b.across, tallest, (a.along + b.along) / 2,
        )  # fmt: skip
        spare = stand.height if stand else 0.0
        if stand and not raised:
            # Only what could stand the other way round as well, so that neither sizes nor heights
            # tell which way the edges go.
            other = Seen(wide, tall + spare, gap, half, (spare, 0.0), throw)
            if other.tilt_for(-edge) is None:
                continue
            stand = None
        high = stand.height if stand else 0.0
        # Without a stand the frame is as large as with one: sizes tell nothing of the edges.
        room = 1.0 if stand else max(wide, tall) / max(wide, tall + spare)
        seen = Seen(wide, tall + high, gap, half, (high, 0.0), throw / room)
        differ = apart * room / seen.held
        if difference and not difference[0] <= differ < difference[1]:
            continue
        grown = seen.throw * (a.height + b.height) / 2 * gap / seen.distance(0.15) ** 2
        if abs(edge) / room * seen.held > (1 - LEAST_SHARED) * min(a.height, b.height):
            continue
        tilt = seen.tilt_for(edge / room + SHIFT * grown)
        if tilt is None:
            continue
        distance = seen.distance(tilt)
        growth = ((distance + gap / 2) / (distance - gap / 2)) ** (against / 2)
        return Depth(
            (-step / 2, -gap / 2), (step / 2, gap / 2), math.degrees(tilt), growth, stand, raised,
            room, max(wide, tall + high + gap * math.sin(tilt), 2 * stand.across if stand else 0.0),
        )  # fmt: skip
    return None


@dataclass(frozen=True)
class Seen:
    """Two things in depth before a camera: extents of the whole (metres), the distance of their
    middles, their mean half depth, what they stand on, and the camera's throw."""

    wide: float
    tall: float
    gap: float
    half: float
    stands: tuple[float, float]
    """Heights of what the nearer and the farther stand on."""
    throw: float

    @property
    def held(self) -> float:
        """What a level frame holds (metres)."""
        return max(self.wide, self.tall)

    def distance(self, tilt: float) -> float:
        """The camera's, from the middle of the two."""
        return self.throw * max(self.wide, self.tall + self.gap * math.sin(tilt)) + self.gap / 2

    def edge(self, tilt: float) -> float:
        """How much lower the nearer one's lower edge is, as a fraction of what the frame shows."""
        away, places = self.distance(tilt), []
        for y, z in zip((-self.gap / 2, self.gap / 2), self.stands, strict=True):
            along, high = y - self.half, z - self.tall / 2
            up = along * math.sin(tilt) + high * math.cos(tilt)
            places.append(up / (away + along * math.cos(tilt) - high * math.sin(tilt)))
        return self.throw * (places[1] - places[0])

    def tilt_for(self, edge: float) -> float | None:
        """The camera's angle above the horizon (radians) that makes it so, by bisection."""
        low, high = (math.radians(bound) for bound in TILT)
        if not self.edge(low) <= edge <= self.edge(high):
            return None
        for _ in range(20):
            middle = (low + high) / 2
            low, high = (middle, high) if self.edge(middle) < edge else (low, middle)
        return (low + high) / 2


def _stand(rng: random.Random, shapes: list[Shape], folder: Path | None) -> Shape | None:
    """Something of another kind that either thing can stand on, lower than both."""
    taken = {s.kind for s in shapes}
    highest = LOW * min(s.height for s in shapes)
    kinds = [kind for kind in STANDS if kind not in taken]
    rng.shuffle(kinds)
    for kind in kinds:
        variant = rng.choice(STANDS[kind])
        made = shape(kind, variant, "standing", 1.0, None)
        if kind in RESIZED:
            needed = 1.15 * max(max(s.across, s.along) for s in shapes) / min(made.half)
            if 2 * needed * max(made.half) > LARGEST_STAND:
                continue
            made = made.resized(needed * rng.uniform(1.0, 1.3))
        if made.height > highest:
            continue
        held = height_map(kind, variant, "standing")
        yaw = rng.uniform(-20, 20)
        halves = [s.turned(s.yaw - yaw) for s in shapes]
        if all(
            held.bears_in_the_middle((h.across / made.scale, h.along / made.scale)) for h in halves
        ):
            return made.turned(round(yaw, 4))
    return None
