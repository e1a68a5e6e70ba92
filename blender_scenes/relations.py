# SPDX-License-Identifier: Apache-2.0
"""Which spatial relations a view shows: pure arithmetic on measurements, no Blender.

Directions are the camera's, flattened onto the ground as in CLEVR (Johnson et al. 2017): `right`
and `forward` lie in the ground plane, `up` is vertical. Unlike CLEVR, extents of the meshes are
compared, not centres, and what the camera sees of each object counts.

Every threshold is reported as a signed slack: how far the measurement is on the good side of it,
in the unit of the measurement. A relation holds when none of its slacks is negative.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

RELATIONS = ("left of", "right of", "in front of", "behind", "on top of", "underneath")
OPPOSITE = {
    "left of": "right of", "right of": "left of",
    "in front of": "behind", "behind": "in front of",
    "on top of": "underneath", "underneath": "on top of",
}  # fmt: skip
CONTRAST = {
    **OPPOSITE,
    "above": "below", "below": "above",
    "inside": "next to", "next to": "inside",
    "near": "far from", "far from": "near",
    "between": "between",
}  # fmt: skip
"""What the other twin of a group shows. "next to" also serves alone; "between" changes places."""
SYMMETRIC = ("next to", "near", "far from")
ALL = tuple(CONTRAST)
CONTACT = 0.012
"""Two surfaces this close touch (metres)."""
CLEARANCE = 0.005
"""Free height under something that stands over an object without touching it (metres)."""
GAP_SEEN = 0.016
"""What is above something leaves free between the two in the picture (fraction of the frame)."""
FRAME_MARGIN = 0.02
"""Every box keeps this distance from the frame's edge (fraction of the frame) ..."""
CUT_SHOWS = 0.4
"""... unless it may be cut off: then so much of it is in the frame."""


@dataclass(frozen=True)
class View:
    """One object as the camera sees it.

    `box` is (left, top, right, bottom) of the whole object, hidden parts included, in fractions
    of the frame, top = 0. `right`, `forward` and `up` are the mesh's extents in metres.
    `visible` is the visible fraction of the object's own pixels, `area` the visible pixels as a
    fraction of the frame, `depth` the median distance of its pixels along the optical axis (m).
    """

    box: tuple[float, float, float, float]
    right: tuple[float, float]
    forward: tuple[float, float]
    up: tuple[float, float]
    visible: float
    area: float
    depth: float


@dataclass(frozen=True)
class Over:
    """One object above another, column by column.

    `gap` is the smallest vertical distance (m) between the upper's underside and the lower's
    upper side (negative: they intersect), `cover` the fraction of the lower's columns that the
    upper lies above. With no column in common, `gap` is None and `cover` 0.
    """

    gap: float | None
    cover: float


@dataclass(frozen=True)
class Pair:
    """Two objects in one view.

    `first_hides` is the fraction of the second that the first hides, `first_enclosed` the fraction
    of horizontal directions in which the second stands around the first, `first_seen` the lowest
    and the highest point that the camera sees of the first (metres). `in_life`: they may differ in
    size as in life, so that what is in front hides little of what is behind.
    """

    first: View
    second: View
    first_hides: float
    second_hides: float
    first_over_second: Over
    second_over_first: Over
    first_enclosed: float
    second_enclosed: float
    first_seen: tuple[float, float]
    second_seen: tuple[float, float]
    in_life: bool = False

    def swapped(self) -> Pair:
        return Pair(
            self.second, self.first, self.second_hides, self.first_hides,
            self.second_over_first, self.first_over_second,
            self.second_enclosed, self.first_enclosed,
            self.second_seen, self.first_seen, self.in_life,
        )  # fmt: skip


def overlap(p: tuple[float, float], q: tuple[float, float]) -> float:
    """Length of the shared part of two spans; negative: the distance between them."""
    return min(p[1], q[1]) - max(p[0], q[0])


def _middle(span: tuple[float, float]) -> float:
    return (span[0] + span[1]) / 2


def _columns_shared(a: View, b: View) -> float:
    """Shared image columns as a fraction of the narrower box."""
    spans = (a.box[0], a.box[2]), (b.box[0], b.box[2])
    return overlap(*spans) / min(s[1] - s[0] for s in spans)


def _left_of(pair: Pair) -> dict[str, float]:
    a, b = pair.first, pair.second
    dx = _middle((b.box[0], b.box[2])) - _middle((a.box[0], a.box[2]))
    dy = _middle((b.box[1], b.box[3])) - _middle((a.box[1], a.box[3]))
    aside = _middle(b.right) - _middle(a.right)
    along = abs(_middle(b.forward) - _middle(a.forward))
    return {
        "image_direction": dx - 1.5 * abs(dy),
        "columns_apart": 0.10 - _columns_shared(a, b),
        "ground_direction": 0.5 * aside - along,
        "same_height": overlap(a.up, b.up),
        "first_visible": a.visible - 0.90,
        "second_visible": b.visible - 0.90,
    }


def _in_front_of(pair: Pair) -> dict[str, float]:
    a, b = pair.first, pair.second
    columns, hides = _columns_shared(a, b), pair.first_hides - 0.05
    if pair.in_life:
        # What it stands on hides too, so that less is seen of who hides whom.
        # A handle alone is an eighth of a cup.
        hides = max(pair.first_hides - 0.125, min(hides, columns - 0.6))
        # A person hides little of a house, but is all seen against it.
        own = [max(view.area, 1e-9) / max(view.visible, 1e-9) for view in (a, b)]
        hides = max(hides, pair.first_hides * own[1] / own[0] - 0.4)
    return {
        "ground_gap": b.forward[0] - a.forward[1] - 0.03,
        "columns_shared": columns - (0.35 if pair.in_life else 0.50),
        "hides": hides,
        "nearer": b.depth - a.depth,
        "same_height": overlap(a.up, b.up),
        "first_visible": a.visible - 0.95,
        "second_visible": b.visible - 0.40,
    }


def _rests(upper: View, lower: View, over: Over) -> dict[str, float]:
    """Upper touches lower from above, with its centre over the lower's footprint."""
    across, along = _middle(upper.right), _middle(upper.forward)
    return {
        "contact": CONTACT - abs(over.gap) if over.gap is not None else -1.0,
        "centre_over": min(
            across - lower.right[0], lower.right[1] - across,
            along - lower.forward[0], lower.forward[1] - along,
        ),
        "raised": upper.up[0] - lower.up[0] - 0.25 * (lower.up[1] - lower.up[0]),
    }  # fmt: skip


def _on_top_of(pair: Pair) -> dict[str, float]:
    return {
        **_rests(pair.first, pair.second, pair.first_over_second),
        # Whose foot is hidden could stand behind it.
        "first_visible": pair.first.visible - (0.90 if pair.in_life else 0.80),
        "second_visible": pair.second.visible - 0.50,
    }


def _stands_over(over: Over) -> float:
    """Slack of the upper's free height above most of the lower."""
    return min((-1.0 if over.gap is None else over.gap) - CLEARANCE, over.cover - 0.70)


def _underneath(pair: Pair) -> dict[str, float]:
    """The second rests on the first, or stands over it as a table stands over a ball."""
    over = pair.second_over_first
    resting = min(_rests(pair.second, pair.first, over).values())
    return {
        "below": max(resting, _stands_over(over)),
        "on_ground": CONTACT - abs(pair.first.up[0]),
        "first_visible": pair.first.visible - 0.50,
        "second_visible": pair.second.visible - 0.80,
    }


def _above(pair: Pair) -> dict[str, float]:
    """Higher than the whole of the second and over it, without touching."""
    a, b = pair.first, pair.second
    rests = _rests(a, b, pair.first_over_second)
    return {
        "clear": a.up[0] - b.up[1] - 0.05,
        "gap_seen": b.box[1] - a.box[3] - GAP_SEEN,
        "centre_over": rests["centre_over"],
        "first_visible": a.visible - 0.90,
        "second_visible": b.visible - 0.80,
    }


def _inside(pair: Pair) -> dict[str, float]:
    """Within the second and low in it; where its wall hides nothing, what is seen is low too."""
    a, b = pair.first, pair.second
    height = b.up[1] - b.up[0]
    sides = [(a.right, b.right), (a.forward, b.forward)]
    sunk = b.up[1] - pair.first_seen[0] - 0.3 * (a.up[1] - a.up[0])
    return {
        "sunk_seen": max(sunk, pair.second_hides - 0.15),
        "within": min(min(p[0] - q[0], q[1] - p[1]) for p, q in sides) + 0.02,
        "low": b.up[0] + 0.5 * height - a.up[0],
        "enclosed": pair.first_enclosed - 0.85,
        "first_visible": a.visible - 0.35,
        "second_visible": b.visible - 0.60,
    }


def ground_gap(a: View, b: View) -> float:
    """Distance (m) between the footprints' boxes in the camera's frame; 0: they overlap."""
    return math.hypot(*(max(0.0, -overlap(p, q))
                        for p, q in ((a.right, b.right), (a.forward, b.forward))))  # fmt: skip


def _breadth(a: View, b: View) -> float:
    """Mean of both objects' larger ground extents (metres)."""
    return sum(max(v.right[1] - v.right[0], v.forward[1] - v.forward[0]) for v in (a, b)) / 2


def _gap_seen(a: View, b: View) -> float:
    """`ground_gap` as the picture tells it: nothing shows that the nearer is longer than wide."""
    nearer, other = sorted((a, b), key=lambda view: view.forward[0])
    begin, width = nearer.forward[0], nearer.right[1] - nearer.right[0]
    seen = replace(nearer, forward=(begin, min(nearer.forward[1], begin + width)))
    return ground_gap(seen, other)


def _across(a: View, b: View) -> float:
    """Mean width of both objects, from left to right (metres)."""
    return sum(v.right[1] - v.right[0] for v in (a, b)) / 2


def _next_to(pair: Pair) -> dict[str, float]:
    a, b = pair.first, pair.second
    gap = ground_gap(a, b)
    dx = abs(_middle((b.box[0], b.box[2])) - _middle((a.box[0], a.box[2])))
    dy = abs(_middle((b.box[1], b.box[3])) - _middle((a.box[1], a.box[3])))
    return {
        "apart": gap - 0.01,
        "close": 0.45 * _breadth(a, b) - gap,
        "aside": dx - dy,
        "columns_apart": 0.25 - _columns_shared(a, b),
        "same_ground": 0.03 - abs(a.up[0] - b.up[0]),
        "first_visible": a.visible - 0.85,
        "second_visible": b.visible - 0.85,
    }


def _near(pair: Pair) -> dict[str, float]:
    a, b = pair.first, pair.second
    gap = ground_gap(a, b)
    return {
        "apart": gap - 0.01,
        "close": 0.65 * _breadth(a, b) - gap,
        "close_seen": 0.36 * _across(a, b) - _gap_seen(a, b),
        "first_visible": a.visible - 0.50,
        "second_visible": b.visible - 0.50,
    }


def _far_from(pair: Pair) -> dict[str, float]:
    a, b = pair.first, pair.second
    return {
        "distant": ground_gap(a, b) - 1.5 * _breadth(a, b),
        "first_visible": a.visible - 0.50,
        "second_visible": b.visible - 0.50,
    }


def between_slacks(left: Pair, right: Pair) -> dict[str, float]:
    """`first between second and third` from the pairs (first, second) and (first, third).

    On the ground, the first's middle projects onto the middle part of the line between the two
    others and lies close to it; in the picture, its middle lies between theirs.
    """
    a, b, c = left.first, left.second, right.second
    (ax, ay), (bx, by), (cx, cy) = ((_middle(v.right), _middle(v.forward)) for v in (a, b, c))
    length = math.hypot(cx - bx, cy - by) or 1e-9
    along = ((ax - bx) * (cx - bx) + (ay - by) * (cy - by)) / length**2
    aside = abs((ax - bx) * (cy - by) - (ay - by) * (cx - bx)) / length
    xs = [_middle((v.box[0], v.box[2])) for v in (a, b, c)]
    return {
        "along": 0.25 - abs(along - 0.5),
        "aside": 0.25 * length - aside,
        "apart": min(ground_gap(a, b), ground_gap(a, c)) - 0.01,
        "image": min(xs[0] - min(xs[1:]), max(xs[1:]) - xs[0]) - 0.05,
        "same_height_seen": min(
            overlap(pair.first_seen, pair.second_seen)
            - 0.5 * min(v.up[1] - v.up[0] for v in (pair.first, pair.second))
            for pair in (left, right)
        ),
        "first_visible": a.visible - 0.80,
        "others_visible": min(b.visible, c.visible) - 0.80,
    }


_MIRRORED = {"right of": "left of", "behind": "in front of", "below": "above"}
_HOLDS = {
    "left of": _left_of,
    "in front of": _in_front_of,
    "on top of": _on_top_of,
    "underneath": _underneath,
    "above": _above,
    "inside": _inside,
    "next to": _next_to,
    "near": _near,
    "far from": _far_from,
}


def slacks(relation: str, pair: Pair) -> dict[str, float]:
    """Signed slack of each threshold of `first RELATION second`."""
    if relation not in _MIRRORED:
        return _HOLDS[relation](pair)
    mirror = _HOLDS[_MIRRORED[relation]](pair.swapped())
    mirror["first_visible"], mirror["second_visible"] = (
        mirror["second_visible"],
        mirror["first_visible"],
    )
    return mirror


def relations_true(pair: Pair, among: tuple[str, ...] = RELATIONS) -> list[str]:
    """Those of some relations of two objects that hold for `first ... second`."""
    return [r for r in among if r != "between" and min(slacks(r, pair).values()) >= 0]


def rejection(
    relation: str, pair: Pair, min_area: float, contrast: str | None = None,
    cut: tuple[bool, ...] = (),
) -> str | None:  # fmt: skip
    """Why the view does not show `first RELATION second` and nothing else; None if it does.

    With a `contrast`, which the foil states, only that one must not hold as well. `cut` says which
    of the two the frame may cut off.
    """
    views = [pair.first, pair.second]
    missed = unclear(relation, views, slacks(relation, pair), min_area, cut)
    if missed:
        return missed
    if contrast or relation not in RELATIONS:
        # What the foils say: the opposite relation, and the two objects exchanged.
        foils = [(contrast or CONTRAST[relation], pair)]
        if relation not in SYMMETRIC:
            foils.append((relation, pair.swapped()))
        if any(relations_true(view, (foil,)) for foil, view in foils):
            return f"{relation}: its foil holds too"
        return None
    converse = _converse(relation, pair)
    if relations_true(pair) != [relation] or relations_true(pair.swapped()) != converse:
        return f"{relation}: another relation holds too"
    return None


def unclear(
    relation: str, views: list[View], slack: dict[str, float], min_area: float,
    cut: tuple[bool, ...] = (),
) -> str | None:  # fmt: skip
    """The first reason why a relation is not shown clearly; None if there is none."""
    for k, view in enumerate(views):
        if cut and cut[k]:
            if in_frame(view.box) < CUT_SHOWS:
                return "too little in the frame"
        elif min(view.box) < FRAME_MARGIN or max(view.box) > 1 - FRAME_MARGIN:
            return "outside the frame"
        if view.area < min_area:
            return "too small in the frame"
    missed = [name for name, value in slack.items() if value < 0]
    return f"{relation}: {missed[0]}" if missed else None


def _converse(relation: str, pair: Pair) -> list[str]:
    """What holds for `second ... first`. A table that stands over a ball is not on top of it."""
    stands_over = relation == "underneath" and _stands_over(pair.second_over_first) >= 0
    return [] if stands_over else [OPPOSITE[relation]]


def in_frame(box: tuple[float, float, float, float]) -> float:
    """Fraction of a box that lies in the frame."""
    across, down = (max(0.0, overlap((box[k], box[k + 2]), (0.0, 1.0))) for k in (0, 1))
    return across * down / ((box[2] - box[0]) * (box[3] - box[1]))
