"""Objects' looks as layouts see them, and where layouts put them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ablate2tune.errors import UserError
from ablate2tune.scenes.assets.asset_catalogue import assets_module, find_asset
from ablate2tune.scenes.vocabulary import CONTRAST

Spot = tuple[float, float, str | None, float]
"""x, y, the key of what it rests on, lift above that (metres)."""


@dataclass(frozen=True)
class Shape:
    """An asset's look and its half extents at its displayed size, before `yaw` (degrees)."""

    kind: str
    variant: str
    pose: str
    scale: float
    half: tuple[float, float]
    height: float
    has_front: bool
    holds: bool
    clearance: float
    """Free height underneath (metres); 0: none."""
    bears: bool
    """Things can stand on it."""
    floats: bool
    flies: bool
    """Its pose is one for the air."""
    bears_things: bool = False
    """Things can stand on it somewhere, if only on its seat."""
    grounded: bool = False
    """It is not put onto other things."""
    at_wall: bool = False
    """It stands against a wall, with nothing behind it."""
    yaw: float = 0.0

    @property
    def across(self) -> float:
        """Half the extent along x as turned."""
        return self._turned(0)

    @property
    def along(self) -> float:
        """Half the extent along y as turned."""
        return self._turned(1)

    @property
    def reach(self) -> float:
        """Half the diagonal of the footprint."""
        return math.hypot(*self.half)

    @property
    def size(self) -> float:
        """The largest extent."""
        return max(2 * self.half[0], 2 * self.half[1], self.height)

    @property
    def natural(self) -> float:
        """The largest extent in life (metres)."""
        return self.size / self.scale

    def _turned(self, axis: int) -> float:
        c, s = abs(math.cos(math.radians(self.yaw))), abs(math.sin(math.radians(self.yaw)))
        return c * self.half[axis] + s * self.half[1 - axis]

    def turned(self, yaw: float) -> "Shape":
        """The shape with another yaw."""
        return replace(self, yaw=yaw)

    def resized(self, factor: float) -> "Shape":
        """The shape, larger or smaller."""
        x, y = self.half
        return replace(
            self,
            scale=self.scale * factor,
            half=(x * factor, y * factor),
            height=self.height * factor,
            clearance=self.clearance * factor,
        )


def hung(shapes: Mapping[str, Shape], places: Mapping[str, Spot]) -> list[str]:
    """Keys of what is in the air without flying; it is shown hanging on a cord."""
    return [key for key, (*_, on, lift) in places.items()
            if on and lift > 0 and not shapes[key].flies]  # fmt: skip


@dataclass(frozen=True)
class TwinLayout:
    """`roles`: keys of subject, object and perhaps third; `places` by key.

    `growth`, by key, multiplies the shapes' scales in this twin.
    """

    relation: str
    roles: tuple[str, ...]
    places: dict[str, Spot]
    growth: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Arrangement:
    """Shapes as resized for the relation, and the two twins."""

    shapes: list[Shape]
    twins: tuple[TwinLayout, TwinLayout]

    def to_the(self, right: bool) -> "Arrangement":
        """This, or its mirror image, so that the first thing of the twin whose relation comes first
        in the vocabulary is to the right, or the left, of its second.

        Left of and right of stay as they are, since they say it themselves.
        """
        first = min(self.twins, key=lambda twin: list(CONTRAST).index(twin.relation))
        one, two = (first.places[role][0] for role in first.roles[:2])
        if first.relation == "left of" or (one > two) == right:
            return self
        mirrored = [
            replace(twin, places={k: (-x, y, on, z) for k, (x, y, on, z) in twin.places.items()})
            for twin in self.twins
        ]
        shapes = [shape.turned(-shape.yaw) for shape in self.shapes]
        return Arrangement(shapes, (mirrored[0], mirrored[1]))


@lru_cache(maxsize=8)
def draft(name: str, folder: Path | None, variant: str, pose: str) -> Any:
    """An asset's shapes; the last few are kept, since extents and height maps both ask for them.

    Raises:
        UserError: the asset's own code fails.
    """
    try:
        return assets_module().draft(find_asset(name, folder), variant, pose)
    except assets_module().AssetError as error:
        raise UserError(str(error), where="scenes.assets", mend="mend that file") from error


@lru_cache(maxsize=512)
def extents(name: str, folder: Path | None, variant: str, pose: str) -> tuple[float, float, float]:
    """Half width, half depth and height at natural size (metres)."""
    (x0, x1), (y0, y1), (z0, z1) = draft(name, folder, variant, pose).extents()
    return (x1 - x0) / 2, (y1 - y0) / 2, z1 - z0


def shape(name: str, variant: str, pose: str, exponent: float, folder: Path | None = None) -> Shape:
    """An asset's look at its displayed size: natural size ** exponent (metres)."""
    asset = find_asset(name, folder)
    x, y, z = extents(name, folder, variant, pose)
    scale = max(2 * x, 2 * y, z) ** (exponent - 1)
    return Shape(
        asset.name, variant, pose, scale, (x * scale, y * scale), z * scale, asset.has_front,
        variant in asset.holds, asset.shelters.get(variant, 0.0) * scale, asset.solid_top,
        asset.floats and (not asset.flies or pose in asset.flies), pose in asset.flies,
        asset.solid_top or bool(asset.shelters), asset.grounded,
        asset.one_sided and asset.places == ("indoors",) and variant not in asset.faceless,
    )  # fmt: skip
