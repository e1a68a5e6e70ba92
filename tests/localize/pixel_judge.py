"""A judge that reads pixels: where each thing stands is a function of the picture alone."""

import numpy as np

from ablate2tune.compare.relation_reading import Detection
from ablate2tune.scenes.vocabulary import COLOURS, KINDS


class PixelJudge:
    """Finds every label whose own pixel is bright enough, at a column that another pixel gives.

    Everything stands in one row at one depth, so that relations are left of and right of.
    """

    def __init__(self, threshold: int = 40, duplicates: bool = False):
        self.labels = [f"{colour} {kind}" for colour in COLOURS for kind in KINDS]
        self.threshold, self.duplicates = threshold, duplicates

    def describe(self):
        return {"kind": "pixels", "threshold": self.threshold}

    def detect(self, images: np.ndarray, batch_size: int = 64) -> list[list[Detection]]:
        return [self._detect(image.astype(int)) for image in images]

    def _detect(self, image: np.ndarray) -> list[Detection]:
        values, found = image.reshape(-1), []
        for number, label in enumerate(self.labels):
            bright, column = values[7 * number % 3000], int(values[(11 * number + 5) % 3000]) * 10
            if bright >= self.threshold:
                mask = np.zeros(image.shape[:2], bool)
                box = (float(column), 10.0, float(column + 5), 15.0)
                found += [Detection(label, box, mask, 5.0, 0.9)] * (2 if self.duplicates else 1)
        return found
