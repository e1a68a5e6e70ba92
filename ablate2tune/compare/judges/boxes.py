"""From scored boxes and a depth map to objects: what a zero-shot judge does after its models.

Pure arithmetic. A detector gives many boxes, each with a score for every label it was asked for,
and a depth model gives depth up to an unknown scale and shift.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ablate2tune.compare.relation_reading import Box

NESTED = 0.8
"""A box of the same label that lies inside another by more than this part of its own area is a part
of that object, or the object with its shadow, and not a second one."""
OWN = 0.2
"""If less than this part of a box is outside all other boxes, its whole box is read."""
NEAR_AND_FAR = (0.98, 0.02)
"""Quantiles of a picture's inverse depth between which depths are expressed."""


class Choice(NamedTuple):
    """One object among the boxes."""

    box: Box
    label: int
    """Position of the likeliest label."""
    score: float
    runner_up: tuple[int, float] | None
    """The next likeliest label and its score; None: only one label was asked for."""


def choose(
    boxes: np.ndarray, scores: np.ndarray, threshold: float, overlap: float, min_area: float
) -> list[Choice]:
    """One choice per object, the best score first.

    Each box has the label that scores highest, and boxes compete across labels (greedy
    non-maximum suppression), so that one object is not both a red ball and a green ball. The
    runner-up is looked for among the boxes that a choice suppresses, too: the second label of an
    object often has the better score in a box beside the chosen one.

    Args:
        boxes: left, top, right, bottom, (boxes, 4).
        scores: (boxes, labels), in [0, 1].
        threshold: lowest score.
        overlap: boxes with a higher intersection over union are one object.
        min_area: smallest area, in the boxes' unit squared.
    """
    kept = np.flatnonzero((scores.max(axis=1) >= threshold) & (_area(boxes) >= max(min_area, 1e-9)))
    left = kept[np.argsort(-scores[kept].max(axis=1), kind="stable")]
    chosen = []
    while len(left):
        best = left[0]
        label = int(scores[best].argmax())
        shared = _shared_area(boxes[best], boxes[left])
        own, others = _area(boxes[best]), _area(boxes[left])
        same_object = shared / (own + others - shared) > overlap
        part = (shared / np.minimum(own, others) > NESTED) & (scores[left].argmax(axis=1) == label)
        same_object[0] = True
        by_label = scores[left[same_object]].max(axis=0)
        by_label[label] = -1
        second = int(by_label.argmax())
        left_edge, top, right, bottom = (float(edge) for edge in boxes[best])
        chosen.append(
            Choice(
                (left_edge, top, right, bottom),
                label,
                float(scores[best, label]),
                (second, float(by_label[second])) if len(by_label) > 1 else None,
            )
        )
        left = left[~(same_object | part)]
    return chosen


def own_pixels(boxes: Sequence[Box], height: int, width: int) -> list[np.ndarray]:
    """The pixels of each box that no other box covers, bool (height, width).

    Where two boxes overlap, the picture shows the nearer object; outside, each its own. A box that
    others cover almost wholly keeps all its pixels.
    """
    covered = np.zeros((height, width), int)
    for box in boxes:
        covered[_window(box, height, width)] += 1
    masks = []
    for box in boxes:
        window = _window(box, height, width)
        alone = covered[window] == 1
        mask = np.zeros((height, width), bool)
        mask[window] = alone if alone.mean() >= OWN else True
        masks.append(mask)
    return masks


def relative_depth(inverse: np.ndarray, depth_range: float) -> np.ndarray:
    """Depth in metres of a picture whose inverse depth is known up to scale and shift.

    The picture's nearest and farthest surfaces (quantiles `NEAR_AND_FAR`) are laid at 0 and
    `depth_range`; scale and shift drop out. With the default range of 3 m and the true depth of 300
    rendered scenes, read inside `own_pixels` of the true boxes, one behind the other differ by 0.87
    to 2.2 m, side by side by 0.3 m at most, and the upper of two stacked is 0.03 to 0.63 m nearer:
    the thresholds of `relation_reading`, 0.6 m and 0.25 m, lie between.

    Both are (height, width); not a number if the map is flat or holds no number.
    """
    near, far = np.quantile(inverse, NEAR_AND_FAR)
    if not near - far > 1e-6 * abs(near):
        return np.full(inverse.shape, np.nan)
    return depth_range * (near - inverse) / (near - far)


def _area(boxes: np.ndarray) -> np.ndarray:
    return np.prod(np.maximum(boxes[..., 2:] - boxes[..., :2], 0), axis=-1)


def _shared_area(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    return _area(np.concatenate([low, high], axis=1))


def _window(box: Box, height: int, width: int) -> tuple[slice, slice]:
    """The pixels whose centres a box holds, one at least."""
    left, top, right, bottom = (round(edge) for edge in box)
    left, top = min(left, width - 1), min(top, height - 1)
    return slice(top, max(bottom, top + 1)), slice(left, max(right, left + 1))
