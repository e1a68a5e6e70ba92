# SPDX-License-Identifier: Apache-2.0
"""Whether a picture shows one thing before another: by the labels of its pixels, no Blender."""

from __future__ import annotations

import math


def before(instances: bytearray, front: int, rear: int) -> float:
    """How plainly one body is seen before another, by the labels of a square picture's pixels.

    The larger of two fractions: of the narrower one's seen columns, those that both have; of the
    rows that show the rear one, those in which it ends beside the front one.
    """
    size = math.isqrt(len(instances))
    rows = [instances[row * size : (row + 1) * size] for row in range(size)]
    spans = []
    for label in (front, rear):
        own = [row for row in rows if label in row]
        if not own:
            return 0.0
        spans.append((min(row.find(label) for row in own), max(row.rfind(label) for row in own)))
    common = min(s[1] for s in spans) - max(s[0] for s in spans) + 1
    shared = common / min(s[1] - s[0] + 1 for s in spans)
    behind = [row for row in rows if rear in row]
    ends = [bytes((front, rear)) in row or bytes((rear, front)) in row for row in behind]
    return max(shared, sum(ends) / len(behind))
