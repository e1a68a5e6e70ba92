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

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ablate2tune.scenes.vocabulary import OPPOSITE

ASIDE = 1.5
"""Side by side: |dx| exceeds this times |dy| (the scenes' own rule). Rendered: above 4."""
ASIDE_OVERLAP = 0.10
"""Side by side: shared columns stay below this part of the narrower box. Rendered: below -0.07."""
TOUCHING_ROWS = -0.20
"""One behind or on the other: shared rows exceed this part of the lower box, so that the pictures
of the two touch, up to the few pixels that a judge misses at their edges. Rendered: at least 0.06
and 0."""
STACKED_ROWS = 0.35
"""What stands before another on something is beside it in more rows than this part of the lower
box; with fewer, it rests on the other however much nearer it is. Rendered in depth: 0.37 at
least."""


class Limits(NamedTuple):
    """Limits of what depths say, in a unit of their own."""

    alike: float
    """Side by side: the depths differ by less."""
    farther: float
    """One behind the other: the upper one is farther away by more."""
    stacked: float
    """Stacked: the upper one is not farther away by more. Between the two lies the no man's land
    that is read as no relation."""
    nearer: float
    """Nearer by more, and in the lower one's rows, the upper one stands before it, on something."""
    columns: float
    """One behind or on the other: shared columns exceed this part of the narrower box. Rendered:
    above 0.55 and 0.95 in plain scenes, mostly above 0.37 in depth in natural ones."""


METRES = Limits(alike=0.6, farther=0.6, stacked=0.25, nearer=math.inf, columns=0.40)
"""For depths in metres, about half an object's size. Rendered: in front and behind they differ by
1.02 at least, side by side by 0.32 at most; the upper of two stacked is 0.25 to 0.74 nearer, since
the camera looks down."""
SPREADS = Limits(alike=3.0, farther=1.1, stacked=1.1, nearer=1.2, columns=0.25)
"""For depths in mean spreads of the two objects' own (`Detection.spread`). Inverse depth of 80
rendered natural scenes, cameras near eye level, inside the true masks: one behind the other differ
by 1.3 at least, side by side by 2.6 at most; of two stacked the upper one is 0.9 nearer to 0.9
farther in 29 of 31. With these limits 78 are read rightly, and 300 of 300 plain scenes."""

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
    spread: float | None = None
    """How much the depth of its pixels varies (from the 10th to the 90th percentile), in the unit
    of `depth`, from a judge that knows its pixels; then depths may have any scale and shift."""

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
    columns, rows = _shared(a.box, b.box, 0), _shared(a.box, b.box, 1)
    limits, unit = METRES, 1.0
    if a.spread is not None and b.spread is not None:
        limits, unit = SPREADS, max((a.spread + b.spread) / 2, 1e-9)
    side_by_side = abs(dx) > ASIDE * abs(dy) and columns < ASIDE_OVERLAP
    if side_by_side and abs(a.depth - b.depth) / unit < limits.alike:
        return "left of" if dx > 0 else "right of"
    if columns <= limits.columns or rows <= TOUCHING_ROWS or dy == 0:
        return None
    a_is_upper = dy > 0
    upper, lower = (a, b) if a_is_upper else (b, a)
    farther = (upper.depth - lower.depth) / unit
    if farther > limits.farther:
        return "behind" if a_is_upper else "in front of"
    if -farther > limits.nearer and rows > STACKED_ROWS:
        return "in front of" if a_is_upper else "behind"
    if farther < limits.stacked:
        return "on top of" if a_is_upper else "underneath"
    return None


def _shared(p: Box, q: Box, axis: int) -> float:
    """Shared span along an axis (0: columns, 1: rows) as a fraction of the smaller box's side.

    Negative: the distance between the two.
    """
    smaller = min(p[axis + 2] - p[axis], q[axis + 2] - q[axis])
    return (min(p[axis + 2], q[axis + 2]) - max(p[axis], q[axis])) / smaller
