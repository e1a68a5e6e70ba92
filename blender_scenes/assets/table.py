# SPDX-License-Identifier: Apache-2.0
"""Tables: plain, dining, round, trestle, low."""

from __future__ import annotations

from dataclasses import dataclass

from . import Asset, Builder


@dataclass(frozen=True)
class Table:
    """Metres; `legs`: four, pedestal or trestle."""

    width: float
    depth: float
    height: float
    legs: str
    surface: str = "body/wood"


def plain(b: Builder) -> None:
    b.block((-0.55, -0.43, 0.74), (0.55, 0.43, 0.82))
    for x in (-0.48, 0.48):
        for y in (-0.36, 0.36):
            b.leg(x, y, width=0.09, top=0.74)


def build(b: Builder, table: Table, pose: str) -> None:
    w, d, h, s = table.width / 2, table.depth / 2, table.height, table.surface
    if table.legs == "pedestal":
        b.rod((0, 0, h - 0.045), (0, 0, h), w, w, s, 40)
        b.rod((0, 0, 0.03), (0, 0, h - 0.04), 0.055, 0.045, s)
        b.rod((0, 0, 0), (0, 0, 0.05), 0.5 * w, 0.3 * w, s, 32)
        b.columns.append((0.0, 0.0))
        return
    b.slab((-w, -d, h - 0.045), (w, d, h), s, 0.012)
    if table.legs == "trestle":
        for x in (-0.7 * w, 0.7 * w):
            for y in (-0.85, 0.85):
                b.rod((x, 0.9 * y * d, 0), (x, 0.25 * y * d, h - 0.04), 0.035, 0.035, s, 8)
                b.columns.append((x, 0.85 * y * d))
            b.slab((x - 0.03, -0.6 * d, 0.35 * h), (x + 0.03, 0.6 * d, 0.42 * h), s, 0.004)
        b.slab((-0.7 * w, -0.025, 0.36 * h), (0.7 * w, 0.025, 0.41 * h), s, 0.004)
        return
    for x in (-w + 0.07, w - 0.07):
        for y in (-d + 0.07, d - 0.07):
            b.slab((x - 0.032, y - 0.032, 0), (x + 0.032, y + 0.032, h - 0.04), s, 0.006)
            b.columns.append((x, y))
        b.slab((x - 0.012, -d + 0.1, h - 0.13), (x + 0.012, d - 0.1, h - 0.04), s, 0.003)
    for y in (-d + 0.07, d - 0.07):
        b.slab((-w + 0.1, y - 0.012, h - 0.13), (w - 0.1, y + 0.012, h - 0.04), s, 0.003)


ASSET = Asset(
    "table",
    build,
    {"dining": Table(1.25, 0.75, 0.72, "four"), "round": Table(0.95, 0.95, 0.72, "pedestal"),
     "trestle": Table(1.35, 0.75, 0.74, "trestle"),
     "painted": Table(1.0, 0.7, 0.66, "four", "body")},
    colours=("brown", "white", "black", "red", "green", "blue", "yellow"),
    solid_top=True,
    shelters={"dining": 0.58, "painted": 0.52},
    plain=plain,
    synonyms={"desk": ("dining", "painted"), "dining table": ("dining",)},
    grounded=True,
    places=("indoors",),
)  # fmt: skip
