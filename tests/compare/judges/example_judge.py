"""A judge of a user's own: sees the pixels of each colour that it is asked for, and no depth."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from ablate2tune.compare.judges import JUDGES, JudgeConfig
from ablate2tune.compare.relation_reading import Detection

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


class NearestConfig(JudgeConfig):
    """What `compare.judge` holds for this kind."""

    kind: Literal["nearest-colour"] = "nearest-colour"
    reach: float = 255.0
    """Largest distance of a pixel from a colour, in RGB."""


class NearestColour:
    """Every pixel belongs to the colour it is nearest to; depth is the same everywhere."""

    settings_type: ClassVar[type[JudgeConfig]] = NearestConfig

    def __init__(self, settings: NearestConfig, labels: Sequence[str], device: Any = "cpu"):
        self.settings, self.labels = settings, list(labels)

    @staticmethod
    def check(settings: NearestConfig, labels: Sequence[str]) -> None:
        """It needs no files."""

    def describe(self) -> dict[str, Any]:
        """For the result files."""
        return {"kind": self.settings.kind, "settings": {"reach": self.settings.reach}}

    def detect(self, images: np.ndarray, batch_size: int = 64) -> list[list[Detection]]:
        """One object of each kind for each colour that is seen, largest first."""
        colours = np.array(list(COLOURS.values()), float)
        distance = np.linalg.norm(images[..., None, :] - colours, axis=-1)
        nearest = np.where(
            distance.min(axis=-1) < self.settings.reach, distance.argmin(axis=-1), -1
        )
        return [self._objects(picture) for picture in nearest]

    def _objects(self, nearest: np.ndarray) -> list[Detection]:
        found = []
        for label in self.labels:
            mask = nearest == list(COLOURS).index(label.split()[0])
            if mask.any():
                rows, columns = np.nonzero(mask)
                box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
                left, top, right, bottom = (float(edge) for edge in box)
                found.append(Detection(label, (left, top, right, bottom), mask, 5.0, 1.0))
        return sorted(found, key=lambda detection: -detection.area)


JUDGES.add("nearest-colour", NearestColour)
