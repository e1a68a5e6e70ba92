"""Hand-placed detections."""

import numpy as np

from ablate2tune.compare.relation_reading import Detection

SIZE = 64
LABELS = [f"{colour} {kind}" for colour in ("red", "green", "blue") for kind in ("ball", "cube")]


def place(
    label: str, left: int, top: int, right: int, bottom: int, depth: float, size: int = SIZE
) -> Detection:
    """A box-shaped detection."""
    mask = np.zeros((size, size), bool)
    mask[top:bottom, left:right] = True
    return Detection(label, (left, top, right, bottom), mask, depth, 0.9)
