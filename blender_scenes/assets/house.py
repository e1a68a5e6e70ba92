# SPDX-License-Identifier: Apache-2.0
"""Houses: cottage, tall house, barn, block of flats."""

from __future__ import annotations

from dataclasses import dataclass

from . import Asset, Builder


@dataclass(frozen=True)
class House:
    """Metres; `storeys`, `windows` per storey, height of the roof (0: flat), roof surface."""

    width: float
    depth: float
    storeys: int
    windows: int
    roof: float
    tiles: str = "roof"
    chimney: bool = True


STOREY = 2.4


def build(b: Builder, house: House, pose: str) -> None:
    w, d, eaves = house.width / 2, house.depth / 2, STOREY * house.storeys
    b.slab((-w, -d, 0), (w, d, eaves), "body", 0.01)
    if house.roof:
        out = 0.35
        slope = house.roof / d
        gable = [(-d, eaves), (d, eaves), (0, eaves + house.roof)]
        with b.moved(turn=(0, 0, 90)):
            b.prism(gable, -w, w, "body")
            for side in (-1, 1):
                low = (side * (d + out), eaves - slope * out)
                pane = [
                    low,
                    (low[0], low[1] + 0.22),
                    (0, eaves + house.roof + 0.22),
                    (0, eaves + house.roof),
                ]
                b.prism(pane[::-1] if side < 0 else pane, -w - out, w + out, house.tiles)
    else:
        b.slab(
            (-w - 0.12, -d - 0.12, eaves - 0.05), (w + 0.12, d + 0.12, eaves + 0.3), "slate", 0.03
        )
    if house.chimney:
        b.slab(
            (0.45 * w, 0.05, eaves), (0.45 * w + 0.6, 0.65, eaves + house.roof + 0.7), "brick", 0.02
        )
    for storey in range(house.storeys):
        z = STOREY * storey + 0.95
        for k in range(house.windows):
            if storey == 0 and k == house.windows // 2:  # the door is there
                continue
            _window(b, house.width * ((k + 0.5) / house.windows - 0.5), -d, z)
        for turn in (90, -90):
            with b.moved(turn=(0, 0, turn)):
                for share in (-0.22, 0.22):
                    _window(b, share * house.depth, -w, z)
    b.slab((-0.55, -d - 0.06, 0), (0.55, -d + 0.1, 2.05), "paper", 0.02)
    b.slab((-0.45, -d - 0.09, 0), (0.45, -d + 0.1, 1.95), "wood", 0.02)
    b.ellipsoid((0.33, -d - 0.11, 0.95), (0.06, 0.06, 0.06), "brass", 12)
    b.slab((-0.8, -d - 0.6, 0), (0.8, -d, 0.14), "stone", 0.02)


def _window(b: Builder, x: float, y: float, z: float) -> None:
    b.slab((x - 0.52, y - 0.07, z - 0.08), (x + 0.52, y + 0.1, z + 1.13), "paper", 0.01)
    for low, high in ((-0.44, -0.03), (0.03, 0.44)):
        for bottom in (0.0, 0.54):
            b.slab(
                (x + low, y - 0.085, z + bottom),
                (x + high, y + 0.1, z + bottom + 0.49),
                "pane",
                0.0,
            )


ASSET = Asset(
    "house",
    build,
    {"cottage": House(6.4, 4.6, 1, 3, 2.2), "tall": House(5.2, 4.6, 2, 3, 2.0, "slate"),
     "barn": House(7.0, 5.0, 1, 3, 3.0, "slate", chimney=False),
     "town": House(6.0, 4.4, 3, 3, 0.0, chimney=False)},
    colours=("white", "yellow", "red", "blue", "green", "orange", "grey", "brown"),
    has_front=True,
    one_sided=True,
    synonyms={"building": (), "home": (), "cottage": ("cottage",), "barn": ("barn",)},
    grounded=True,
    places=("outdoors",),
)  # fmt: skip
