"""Where things can stand on an asset and fit below it: height maps of its mesh, without Blender.

Lengths are metres in the asset's own frame at natural size.
"""

import math
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ablate2tune.scenes.shapes.shapes import draft

CELLS = 64
"""Cells along the longer side of a map."""
LEVEL = 0.02
"""Unevenness of a place to stand on, as a fraction of the map's longer side."""
FLAT = 0.9
"""Fraction of a thing's footprint that must lie on the place it stands on."""
COVERED = 0.8
"""Fraction of a thing's footprint that must have something above it."""
ALL = 0.99
"""That is all of it."""
HOLLOW = 0.5
"""A hollow's floor lies below this part of the whole height."""
LEVELS = 32
"""Heights at which the lower part of a thing is measured."""


class HeightMap(NamedTuple):
    """Highest and lowest surface over each cell of the ground, (rows along y, columns along x).

    Cells without a surface hold -inf and +inf. `lower` holds the half extents (x, y) of what lies
    below each of `LEVELS` parts of the whole height.
    """

    top: np.ndarray
    bottom: np.ndarray
    cell: float
    lower: np.ndarray

    def below(self, part: float) -> tuple[float, float]:
        """Half extents (x, y) of what lies below a part of the whole height: a tree's stem."""
        x, y = self.lower[min(LEVELS, max(1, math.ceil(part * LEVELS))) - 1]
        return float(x), float(y)

    def places(self, chosen: np.ndarray) -> list[tuple[float, float]]:
        """The middles (x, y) of some cells, (rows, columns)."""
        rows, columns = self.top.shape
        row, column = np.nonzero(chosen)
        xs, ys = (column + 0.5 - columns / 2) * self.cell, (row + 0.5 - rows / 2) * self.cell
        return list(zip(xs.tolist(), ys.tolist(), strict=True))

    def _window(self, half: tuple[float, float]) -> Any:  # scipy's types know no (int, int)
        """Rows and columns of a footprint with these half extents (x, y)."""
        x, y = (max(1, round(2 * h / self.cell)) for h in half)
        return y, x

    def tops(self, half: tuple[float, float]) -> list[tuple[float, float]]:
        """Middles of level places for a footprint, those on the highest level alone."""
        from scipy.ndimage import maximum_filter, uniform_filter

        size = self._window(half)
        known = np.where(np.isfinite(self.top), self.top, 0.0)
        highest = maximum_filter(known, size, mode="constant")
        tolerance = LEVEL * self.cell * CELLS
        level = (highest - known <= tolerance).astype(float)
        # A cell stands for its neighbourhood only where the highest of both is the same.
        good = uniform_filter(level, size, mode="constant") >= FLAT
        good &= level.astype(bool) & (known > 0)
        if not good.any():
            return []
        good &= known >= known[good].max() - 4 * tolerance
        return self.places(good)

    def hollows(self, half: tuple[float, float]) -> list[tuple[float, float]]:
        """Middles of places at which a footprint sinks below half of the height."""
        from scipy.ndimage import maximum_filter

        # What is beyond the map, or has no surface, is no floor.
        known = np.where(np.isfinite(self.top), self.top, np.inf)
        highest = maximum_filter(known, self._window(half), mode="constant", cval=np.inf)
        return self.places(highest <= HOLLOW * self.top.max())

    def bears_in_the_middle(self, half: tuple[float, float]) -> bool:
        """Whether a footprint has a level place in the middle."""
        rows, columns = self._window(half)
        middle = [(n - k) // 2 for n, k in zip(self.top.shape, (rows, columns), strict=True)]
        if min(middle) < 0:
            return False
        part = self.top[middle[0] : middle[0] + rows, middle[1] : middle[1] + columns]
        level = part >= part.max() - LEVEL * self.cell * CELLS
        return bool(part.max() > 0 and level.mean() >= FLAT)

    def shelters(
        self, half: tuple[float, float], height: float, within: float = 0.0
    ) -> list[tuple[float, float]]:
        """Middles of places for a footprint that have this free height and a cover.

        The cover of all of it reaches further by `within`, if that is asked for.
        """
        from scipy.ndimage import minimum_filter, uniform_filter

        lowest = minimum_filter(self.bottom, self._window(half), mode="nearest")
        wider = self._window((half[0] + within, half[1] + within))
        over = uniform_filter(np.isfinite(self.bottom).astype(float), wider, mode="constant")
        return self.places((lowest > height) & (over >= (ALL if within else COVERED)))


@lru_cache(maxsize=256)
def height_map(kind: str, variant: str, pose: str, folder: Path | None = None) -> HeightMap:
    """The map of an asset's look."""
    built = draft(kind, folder, variant, pose)
    corners = [
        (np.array(part.vertices, float), [(f[0], f[k], f[k + 1]) for f in part.faces
                                          for k in range(1, len(f) - 1)])
        for part in (built, *built.skins) if part.faces
    ]  # fmt: skip
    triangles = np.concatenate([points[np.array(faces)] for points, faces in corners])
    half = np.abs(triangles[..., :2]).reshape(-1, 2).max(axis=0)
    cell = 2 * half.max() / CELLS
    columns, rows = (max(1, int(np.ceil(2 * h / cell))) for h in half)
    top, bottom = np.full(rows * columns, -np.inf), np.full(rows * columns, np.inf)
    lower, height = np.zeros((2, LEVELS)), max(float(triangles[..., 2].max()), 1e-9)
    for points in _sampled(triangles, cell):
        level = np.clip((points[:, 2] / height * LEVELS).astype(int), 0, LEVELS - 1)
        for axis in (0, 1):
            np.maximum.at(lower[axis], level, np.abs(points[:, axis]))
        column = np.clip((points[:, 0] / cell + columns / 2).astype(int), 0, columns - 1)
        row = np.clip((points[:, 1] / cell + rows / 2).astype(int), 0, rows - 1)
        # One index is many times faster than two.
        np.maximum.at(top, row * columns + column, points[:, 2])
        np.minimum.at(bottom, row * columns + column, points[:, 2])
    top, bottom = (part.reshape(rows, columns) for part in (top, bottom))
    return HeightMap(top, bottom, float(cell), np.maximum.accumulate(lower.T))


def _sampled(triangles: np.ndarray, cell: float):
    """Points on triangles, dense enough to meet every cell below them."""
    flat = triangles[..., :2]
    edges = np.linalg.norm(flat - np.roll(flat, 1, axis=1), axis=-1).max(axis=1)
    steps = np.ceil(2 * edges / cell).astype(int).clip(1)
    steps = 2 ** np.ceil(np.log2(steps)).astype(int)
    for count in np.unique(steps):
        u, v = np.meshgrid(*[np.linspace(0, 1, count + 1)] * 2)
        u, v = u[u + v <= 1 + 1e-9], v[u + v <= 1 + 1e-9]
        a, b, c = (triangles[steps == count][:, k, None] for k in range(3))
        u, v = u[None, :, None], v[None, :, None]
        yield (a + u * (b - a) + v * (c - a)).reshape(-1, 3)
