"""Which relation one image shows between two detected objects: geometry of boxes and depth.

The scenes are defined in three dimensions by `blender_scenes/relations.py`. Here one image is
all there is, so each definition is carried over to what an image offers: the boxes of the visible
parts and the median depth of their masks. The camera looks down at the ground by some 25 to 35
degrees, so of two objects the one that is higher in the picture either stands behind (it is
farther away) or stands on top (it is a little nearer): depth decides between the two. This is
why rules on two-dimensional boxes alone, such as GenEval's, misread half of such scenes.

The thresholds are in units of the boxes or, for depth, in metres for objects about 1 m in size.
The reasons state the range measured on 336 rendered scenes with their true masks and depth, 56 per
relation: every threshold lies well outside the range of the relation that it admits.
"""

from dataclasses import dataclass

import numpy as np

from ablate2tune.scenes.vocabulary import OPPOSITE

ASIDE = 1.5
"""Side by side: |dx| exceeds this times |dy| (the scenes' own rule). Rendered: above 4."""
ASIDE_OVERLAP = 0.10
"""Side by side: shared columns stay below this part of the narrower box. Rendered: below -0.07."""
SAME_COLUMNS = 0.40
"""One behind or on the other: shared columns exceed this. Rendered: above 0.55 and 0.95."""
TOUCHING_ROWS = -0.20
"""One behind or on the other: shared rows exceed this part of the lower box, so that the pictures
of the two touch, up to the few pixels that a judge misses at their edges. Rendered: at least 0.06
and 0."""
DEPTH_GAP = 0.6
"""In front and behind: the depths differ by more than this (m), about half an object's size.
Rendered: at least 1.02. Side by side they differ by less; rendered: at most 0.32."""
STACK_GAP = 0.25
"""Stacked: the upper one is not farther away than the lower one by more than this (m). Rendered:
it is 0.25 to 0.74 nearer, since the camera looks down. Between the two gaps lies the no man's land
that is read as no relation."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Detection:
    """One object that a judge found in one image."""

    label: str
    """Colour and kind: "red ball"."""
    box: Box
    """Left, top, right, bottom of the visible part in pixels, right and bottom exclusive."""
    mask: np.ndarray
    """Pixels of the visible part, bool (height, width)."""
    depth: float
    """Median distance of the mask along the optical axis, in metres; not a number where the judge
    cannot tell, which leaves every relation unread."""
    score: float
    """The judge's mean probability of the label inside the mask."""
    runner_up: tuple[str, float] | None = None
    """The next likeliest label and its score, from a judge that scores every label."""

    @property
    def area(self) -> float:
        """Visible part as a fraction of the image."""
        return float(self.mask.mean())


def right_kind(asked: str, read: str | None) -> bool:
    """Whether two relations are of one kind of arrangement, whoever stands where.

    >>> right_kind("left of", "right of"), right_kind("left of", "behind")
    (True, False)
    """
    return read in (asked, OPPOSITE[asked])


def read_relation(a: Detection, b: Detection) -> str | None:
    """The relation of `a` to `b` ("left of": a is left of b), or None if it is ambiguous."""
    dx = (b.box[0] + b.box[2] - a.box[0] - a.box[2]) / 2
    dy = (b.box[1] + b.box[3] - a.box[1] - a.box[3]) / 2
    columns = _shared(a.box, b.box, 0)
    if abs(dx) > ASIDE * abs(dy) and columns < ASIDE_OVERLAP and abs(a.depth - b.depth) < DEPTH_GAP:
        return "left of" if dx > 0 else "right of"
    if columns <= SAME_COLUMNS or _shared(a.box, b.box, 1) <= TOUCHING_ROWS or dy == 0:
        return None
    a_is_upper = dy > 0
    upper, lower = (a, b) if a_is_upper else (b, a)
    farther = upper.depth - lower.depth
    if farther > DEPTH_GAP:
        return "behind" if a_is_upper else "in front of"
    if farther < STACK_GAP:
        return "on top of" if a_is_upper else "underneath"
    return None


def _shared(p: Box, q: Box, axis: int) -> float:
    """Shared span along an axis (0: columns, 1: rows) as a fraction of the smaller box's side.

    Negative: the distance between the two.
    """
    smaller = min(p[axis + 2] - p[axis], q[axis + 2] - q[axis])
    return (min(p[axis + 2], q[axis + 2]) - max(p[axis], q[axis])) / smaller
