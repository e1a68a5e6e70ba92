# SPDX-License-Identifier: Apache-2.0
"""Chairs: plain, ladder-backed, solid-backed, stool-like, armchair."""

from __future__ import annotations

from dataclasses import dataclass

from . import Asset, Builder


@dataclass(frozen=True)
class Chair:
    """Metres; `back`: slats, panel, spindles or padded."""

    width: float
    depth: float
    seat: float
    back_height: float
    back: str
    surface: str = "body/wood"


def plain(b: Builder) -> None:
    b.block((-0.42, -0.42, 0.53), (0.42, 0.44, 0.61))
    for x in (-0.365, 0.365):
        b.leg(x, -0.365, width=0.1, top=0.53)
        b.leg(x, 0.385, width=0.1, top=0.53)
        b.block((x - 0.05, 0.36, 0.61), (x + 0.05, 0.44, 1.14))
        b.columns.append((x, 0.4))
    for low, high in ((0.95, 1.14), (0.74, 0.86)):
        b.block((-0.315, 0.375, low), (0.315, 0.425, high))
    b.columns.extend((x, 0.4) for x in (-0.2, 0.0, 0.2))


def build(b: Builder, chair: Chair, pose: str) -> None:
    w, d, h, top = chair.width / 2, chair.depth / 2, chair.seat, chair.seat + chair.back_height
    if chair.back == "padded":
        _armchair(b, chair)
        return
    t, s = 0.042, chair.surface
    b.slab((-w, -d, h - 0.04), (w, d, h), s, 0.01)
    for x in (-w + t / 2, w - t / 2):
        for y in (-d + t / 2, d - t / 2):
            b.slab((x - t / 2, y - t / 2, 0), (x + t / 2, y + t / 2, h - 0.03), s, 0.006)
            b.columns.append((x, y))
        b.slab((x - t / 2, d - t, h), (x + t / 2, d, top), s, 0.006)
        b.slab((x - 0.012, -d + t, 0.33 * h), (x + 0.012, d - t, 0.33 * h + 0.03), s, 0.004)
    y = d - t / 2
    if chair.back == "slats":
        for share in (0.32, 0.62, 0.92):
            z = h + share * chair.back_height
            b.slab((-w + t, y - 0.01, z - 0.045), (w - t, y + 0.01, z + 0.035), s, 0.006)
    elif chair.back == "panel":
        b.slab((-w + t / 2, y - 0.012, h + 0.12), (w - t / 2, y + 0.012, top), s, 0.008)
    else:
        b.slab((-w, y - 0.02, top - 0.05), (w, y + 0.02, top + 0.02), s, 0.01)
        for k in range(5):
            x = -w + t + (2 * w - 2 * t) * (k + 0.5) / 5
            b.rod((x, y, h), (x, y, top - 0.04), 0.011, 0.011, s, 10)
    b.columns.extend((w * k / 3, y) for k in (-2, -1, 0, 1, 2))


def _armchair(b: Builder, chair: Chair) -> None:
    w, d, h, top = chair.width / 2, chair.depth / 2, chair.seat, chair.seat + chair.back_height
    for x in (-w + 0.06, w - 0.06):
        for y in (-d + 0.06, d - 0.06):
            b.rod((x, y, 0), (x, y, 0.12), 0.02, 0.03, "wood")
            b.columns.append((x, y))
    b.slab((-w, -d, 0.1), (w, d, 0.62 * h), "body", 0.04)
    b.slab((-w + 0.13, -d - 0.02, 0.6 * h), (w - 0.13, d - 0.14, h), "body/pale", 0.05)
    b.slab((-w, d - 0.17, 0.3), (w, d, top), "body", 0.06)
    for s in (-1, 1):
        b.slab((s * (w - 0.07) - 0.07, -d, 0.3), (s * (w - 0.07) + 0.07, d, h + 0.2), "body", 0.05)


ASSET = Asset(
    "chair",
    build,
    {"ladder": Chair(0.46, 0.44, 0.46, 0.50, "slats"),
     "panel": Chair(0.44, 0.44, 0.46, 0.42, "panel", "body"),
     "spindle": Chair(0.44, 0.42, 0.45, 0.52, "spindles"),
     "armchair": Chair(0.84, 0.78, 0.42, 0.50, "padded")},
    colours=("brown", "red", "green", "blue", "yellow", "purple", "orange", "white", "black"),
    has_front=True,
    shelters={"ladder": 0.40, "panel": 0.40, "spindle": 0.40},
    plain=plain,
    synonyms={"armchair": ("armchair",), "seat": ()},
    grounded=True,
    places=("indoors",),
)  # fmt: skip
