# SPDX-License-Identifier: Apache-2.0
"""Shelves: a bookcase, an open rack, a low shelf, a narrow one; with or without books."""

from __future__ import annotations

import math
from dataclasses import dataclass

from . import Asset, Builder

BOOKS = ("book red", "book blue", "book green", "book yellow", "paper")


@dataclass(frozen=True)
class Shelf:
    """Metres; `boards` above the lowest; `first`: height of the lowest board; `back` or open."""

    width: float
    depth: float
    height: float
    boards: int
    first: float
    back: bool
    books: float
    """Filled share of each board."""


def build(b: Builder, shelf: Shelf, pose: str) -> None:
    w, d, h, t, s = shelf.width / 2, shelf.depth / 2, shelf.height, 0.035, "body/wood"
    for x in (-w, w - t):
        if shelf.back:
            b.slab((x, -d, 0), (x + t, d, h), s, 0.004)
        else:
            for y in (-d, d - t):
                b.slab((x, y, 0), (x + t, y + t, h), s, 0.004)
        b.columns.extend(((x + t / 2, -d + t / 2), (x + t / 2, d - t / 2)))
    step = (h - t - shelf.first) / shelf.boards
    for k in range(shelf.boards + 1):
        z = shelf.first + k * step
        b.slab((-w, -d, z), (w, d, z + t), s, 0.004)
        if k < shelf.boards and shelf.books:
            _row(b, shelf, z + t, step - t, k)
    if shelf.back:
        b.slab((-w, d - 0.012, shelf.first), (w, d, h), "body/dark", 0.002)


def _row(b: Builder, shelf: Shelf, z: float, room: float, row: int) -> None:
    """Books side by side; sizes follow from their place, so a shelf is always the same."""
    x, end, n = -shelf.width / 2 + 0.05, shelf.width * (shelf.books - 0.5), 7 * row
    while x < end - 0.07:
        wave = 0.5 + 0.5 * math.sin(12.9898 * (n + 1))
        thick, tall = 0.03 + 0.03 * wave, room * (0.6 + 0.3 * (0.5 + 0.5 * math.sin(4.7 * n)))
        y = -0.3 * shelf.depth
        b.slab((x, y, z), (x + thick, 0.35 * shelf.depth, z + tall), BOOKS[n % 5], 0.003)
        x, n = x + thick + 0.003, n + 1


ASSET = Asset(
    "shelf",
    build,
    {"bookcase": Shelf(0.9, 0.3, 1.5, 4, 0.0, True, 0.85),
     "rack": Shelf(1.0, 0.36, 1.2, 2, 0.42, False, 0.0),
     "low": Shelf(1.1, 0.34, 0.82, 2, 0.0, True, 0.6),
     "narrow": Shelf(0.5, 0.32, 1.6, 4, 0.06, True, 0.7)},
    colours=("brown", "white", "black", "blue", "green", "red"),
    has_front=True,
    one_sided=True,
    faceless=("rack",),
    solid_top=True,
    shelters={"rack": 0.40},
    synonyms={"bookshelf": ("bookcase", "low", "narrow"), "bookcase": ("bookcase", "narrow"),
              "rack": ("rack",)},
    grounded=True,
    places=("indoors",),
)  # fmt: skip
