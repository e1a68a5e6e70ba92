"""Is a relation true in a picture? Decided from point clouds alone, for `check-data`.

Shares no code, no threshold and no measurement with the generator (`blender_scenes/relations.py`
decides from whole meshes before the render; this decides from the depth map, the mask and the
camera that were stored with the picture). The definitions are the plain meaning of the words, in
the camera's view, with wider limits than the generator's.

A definition is a list of conditions with a signed slack and the error that the sampling by pixels
may put on it. All slacks above their error: confirmed. One below minus its error: contradicted.
Anything else is undecidable in this picture.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from ablate2tune.scenes.layouts.geometry import (
    FORWARD,
    RIGHT,
    UP,
    Cloud,
    columns_shared,
    distance,
    drops,
    outline_cut,
    shared,
    surrounded,
)

Verdict = Literal["confirmed", "contradicted", "undecidable"]
MIN_POINTS = 12
"""An object with fewer visible pixels has no shape to measure."""
GROUND = (RIGHT, FORWARD)
ROUNDING = 0.005
"""Height (metres) by which a depth map in millimetres can be wrong."""
NEAR, FAR = 1.4, 1.6
"""Largest and smallest gap of what is near and far, in mean breadths of the two objects."""


class Condition(NamedTuple):
    """One part of a definition; slack and error in the same unit."""

    name: str
    slack: float
    error: float = 0.0


class Finding(NamedTuple):
    """What was found, and the condition that decided it."""

    verdict: Verdict
    why: str


def decide(relation: str, objects: Sequence[Cloud | None]) -> Finding:
    """Whether `objects[0] RELATION objects[1] (and objects[2])` is true in the picture.

    Args:
        relation: one of `RELATIONS`.
        objects: two clouds, or three for "between"; None for an object without a visible pixel.

    Raises:
        KeyError: an unknown relation.
    """
    return settle(objects, RELATIONS[relation])


def settle(objects: Sequence[Cloud | None], definition: Callable[..., list[Condition]]) -> Finding:
    """What the conditions of a definition say of some objects (see this module)."""
    if any(cloud is None for cloud in objects):
        return Finding("contradicted", "an object is not in the picture")
    seen = [cloud for cloud in objects if cloud is not None]
    if min(len(cloud.points) for cloud in seen) < MIN_POINTS:
        return Finding("undecidable", f"an object shows fewer than {MIN_POINTS} pixels")
    conditions = definition(*seen)
    worst = min(conditions, key=lambda c: c.slack + c.error)
    if worst.slack < -worst.error:
        return Finding("contradicted", worst.name)
    closest = min(conditions, key=lambda c: c.slack - c.error)
    if closest.slack < closest.error:
        return Finding("undecidable", closest.name)
    return Finding("confirmed", closest.name)


def _pitch(*seen: Cloud) -> float:
    return max(cloud.pitch for cloud in seen)


def _one_pixel(a: Cloud, b: Cloud) -> float:
    """One picture column as a fraction of the narrower object."""
    return 1 / min(c.columns[1] - c.columns[0] + 1 for c in (a, b))


def _level(a: Cloud, b: Cloud) -> Condition:
    """The two share a tenth of the lower one's height."""
    least = 0.1 * float(min(a.extent[UP], b.extent[UP]))
    return Condition("at one height", shared(a, b, UP) - least, _pitch(a, b))


def _part(a: Cloud, chosen: np.ndarray) -> Cloud | None:
    """Some of a cloud's points; None if there are none."""
    if not chosen.any():
        return None
    return Cloud(a.points[chosen], a.pixels[chosen], a.depth[chosen], a.pitch)


def _left_of(a: Cloud, b: Cloud) -> list[Condition]:
    pitch, step = _pitch(a, b), b.middle - a.middle
    narrower = min(a.extent[RIGHT], b.extent[RIGHT])
    return [
        Condition("side by side", b.low[RIGHT] - a.high[RIGHT] + 0.25 * narrower, pitch),
        Condition("rather aside than in depth", step[RIGHT] - abs(step[FORWARD]), pitch),
        _level(a, b),
    ]


def _in_line(a: Cloud, b: Cloud) -> Condition:
    """b is seen over a, or a cuts off what is seen of b: each by a quarter at least."""
    rows = len(np.unique(b.pixels[:, 0]))
    return max(
        Condition("in one line of sight", columns_shared(a, b) - 0.25, _one_pixel(a, b)),
        Condition("in one line of sight", outline_cut(a, b) - 0.25, 1 / rows),
        key=lambda condition: condition.slack - condition.error,
    )


def _in_front_of(a: Cloud, b: Cloud) -> list[Condition]:
    pitch = _pitch(a, b)
    return [
        Condition("nearer", b.low[FORWARD] - a.low[FORWARD], pitch),
        Condition("nearer by its middle", b.middle[FORWARD] - a.middle[FORWARD], pitch),
        _in_line(a, b),
        # The lower part of what stands behind is hidden.
        Condition("at one height", shared(a, b, UP), pitch),
    ]


def _depth(a: Cloud) -> float:
    """Extent in depth (metres), taken to be at least half the width.

    The far side of an object is hidden, and so is the rear of what another stands on.
    """
    return float(max(a.extent[FORWARD], 0.5 * a.extent[RIGHT]))


def _depth_shared(a: Cloud, b: Cloud) -> float:
    """Overlap in depth (metres); negative: the distance between the two."""
    far = min(c.low[FORWARD] + _depth(c) for c in (a, b))
    return float(far - max(a.low[FORWARD], b.low[FORWARD]))


def _over(a: Cloud, b: Cloud, whole: Cloud | None = None) -> list[Condition]:
    """a's middle lies over b from left to right, and the two overlap in depth.

    Where b is a part that may be seen edge-on, its depth is that of the `whole`.
    """
    pitch, middle = _pitch(a, b), a.middle[RIGHT]
    inside = min(middle - b.low[RIGHT], b.high[RIGHT] - middle)
    return [
        Condition("over its middle", inside, pitch),
        Condition("at one depth", _depth_shared(a, whole or b), pitch),
    ]


def _touching(a: Cloud, b: Cloud) -> Condition:
    """The contact of a with b below it (metres).

    Two pixels are as close as a picture can tell. Where a's underside overhangs, the contact is
    hidden; if the picture shows b right below a, the gap is anything from 0 to the height hidden
    there, which counts as contact up to a quarter of a's height and decides nothing beyond.
    """
    close = 0.04 + 2 * _pitch(a, b) - distance(a, b)
    below = drops(a, b)
    if close >= 0 or np.isnan(below).all():
        return Condition("touching", close)
    hidden = 0.25 * float(a.extent[UP]) - float(np.nanmin(abs(below)))
    return Condition("touching", hidden, error=max(0.0, -hidden))


def _on_it_in_depth(a: Cloud, b: Cloud) -> Condition:
    """The overlap in depth of a with b that carries it (metres).

    Seen from the height of its top, b's own edge hides how far the top reaches. What has its foot
    right above that edge may stand there or beyond b: up to b's width that decides nothing.
    """
    slack, pitch = _depth_shared(a, b), _pitch(a, b)
    below = drops(a, b)
    beyond = a.low[FORWARD] > b.low[FORWARD] + _depth(b) and -slack <= b.extent[RIGHT]
    hidden = beyond and not np.isnan(below).all() and _foot_hidden(a, b) < 0.5
    return Condition("at one depth", slack, max(pitch, -slack) if hidden else pitch)


def _foot_hidden(a: Cloud, b: Cloud) -> float:
    """Fraction of a's columns whose lower end b hides."""
    return float((drops(a, b) < -ROUNDING).mean())


def _on_top_of(a: Cloud, b: Cloud) -> list[Condition]:
    pitch = _pitch(a, b)
    return [
        _over(a, b)[0],
        _on_it_in_depth(a, b),
        Condition("raised", a.low[UP] - b.low[UP] - 0.2 * b.extent[UP], pitch),
        _touching(a, b),
        Condition("not sunk into it", 0.5 - _foot_hidden(a, b)),
    ]


def _underneath(a: Cloud, b: Cloud) -> list[Condition]:
    pitch = _pitch(a, b)
    higher = b.high[UP] - a.high[UP]
    aside = abs(b.points[:, RIGHT] - a.middle[RIGHT]) <= a.extent[RIGHT] / 2 + pitch
    top = _part(b, aside & (b.points[:, UP] > a.high[UP] - pitch))
    if top is None:
        return [Condition("something over it", -pitch)]
    return [
        Condition("something higher", higher, pitch),
        *_over(a, top, b),
        # A seat carries what stands before its back.
        Condition("not carried by it", b.low[UP] + 0.2 * b.extent[UP] - a.low[UP], pitch),
        Condition("lower", b.middle[UP] - a.low[UP], pitch),
    ]


def _above(a: Cloud, b: Cloud) -> list[Condition]:
    """Higher than all of it, without touching; a picture without a gap leaves that open."""
    gap, pitch = float(a.low[UP] - b.high[UP]), _pitch(a, b)
    hidden = 0.0 if np.isnan(drops(a, b)).all() else abs(gap)
    return [Condition("clear of it", gap, pitch + hidden), *_over(a, b)]


def _inside(a: Cloud, b: Cloud) -> list[Condition]:
    pitch = _pitch(a, b)
    middle = a.middle
    within = min(
        a.low[RIGHT] - b.low[RIGHT], b.high[RIGHT] - a.high[RIGHT],
        middle[FORWARD] - b.low[FORWARD], b.high[FORWARD] - middle[FORWARD],
    )  # fmt: skip
    below_the_rim = float(b.high[UP] - a.low[UP] - 0.1 * a.extent[UP])
    narrow = 1 / (a.columns[1] - a.columns[0] + 1)
    sunk = max(
        Condition("sunk into it", below_the_rim, pitch),
        Condition("sunk into it", _foot_hidden(a, b) - 0.25, narrow),
        key=lambda condition: condition.slack - condition.error,
    )
    walls = _part(b, b.points[:, UP] < a.high[UP] + pitch)
    return [
        Condition("within its bounds", within + pitch, pitch),
        Condition("surrounded", (surrounded(a, walls) if walls else 0.0) - 0.7),
        sunk,
    ]


def _breadth(a: Cloud, b: Cloud) -> float:
    return (a.breadth + b.breadth) / 2


def _apart(a: Cloud, b: Cloud) -> Condition:
    """On the ground the two overlap by less than a quarter of the smaller, aside or in depth."""
    aside = 0.25 * min(a.extent[RIGHT], b.extent[RIGHT]) - shared(a, b, RIGHT)
    along = 0.25 * min(_depth(a), _depth(b)) - _depth_shared(a, b)
    return Condition("apart", float(max(aside, along)), _pitch(a, b))


def _next_to(a: Cloud, b: Cloud) -> list[Condition]:
    pitch = _pitch(a, b)
    return [
        _apart(a, b),
        Condition("close", 0.75 * _breadth(a, b) - distance(a, b, GROUND), pitch),
        Condition("beside", 0.5 - columns_shared(a, b), _one_pixel(a, b)),
        _level(a, b),
    ]


def _gap(a: Cloud, b: Cloud) -> float:
    """Distance on the ground (metres).

    The far side of the nearer object is hidden; it is taken to be as deep as it is wide.
    """
    nearer = a if a.low[FORWARD] < b.low[FORWARD] else b
    step = abs(a.middle - b.middle)
    in_depth = step[FORWARD] / max(1e-9, float(np.hypot(step[RIGHT], step[FORWARD])))
    hidden = in_depth * max(0.0, nearer.extent[RIGHT] - nearer.extent[FORWARD])
    return distance(a, b, GROUND) - hidden


def _near(a: Cloud, b: Cloud) -> list[Condition]:
    return [_apart(a, b), Condition("close", NEAR * _breadth(a, b) - _gap(a, b), _pitch(a, b))]


def _far_from(a: Cloud, b: Cloud) -> list[Condition]:
    return [Condition("distant", _gap(a, b) - FAR * _breadth(a, b), _pitch(a, b))]


def _between(a: Cloud, b: Cloud, c: Cloud) -> list[Condition]:
    pitch = _pitch(a, b, c)
    line, away = (x.middle[:2] - b.middle[:2] for x in (c, a))
    length = max(1e-9, float(np.hypot(*line)))
    along = float(line @ away) / length**2
    aside = abs(float(line[0] * away[1] - line[1] * away[0])) / length
    order = (a.middle[RIGHT] - b.middle[RIGHT]) * np.sign(c.middle[RIGHT] - b.middle[RIGHT])
    rest = abs(c.middle[RIGHT] - b.middle[RIGHT]) - order
    return [
        Condition("in the middle part", length * (0.3 - abs(along - 0.5)), pitch),
        Condition("on the line", 0.35 * length - aside, pitch),
        Condition("in the middle of the picture's three", float(min(order, rest)), pitch),
        _level(a, b),
        _level(a, c),
    ]


def _mirrored(definition: Callable[..., list[Condition]]) -> Callable[..., list[Condition]]:
    return lambda a, b: definition(b, a)


RELATIONS: dict[str, Callable[..., list[Condition]]] = {
    "left of": _left_of,
    "right of": _mirrored(_left_of),
    "in front of": _in_front_of,
    "behind": _mirrored(_in_front_of),
    "on top of": _on_top_of,
    "underneath": _underneath,
    "above": _above,
    "below": _mirrored(_above),
    "inside": _inside,
    "next to": _next_to,
    "near": _near,
    "far from": _far_from,
    "between": _between,
}
"""Definition by relation: clouds in, conditions out."""
