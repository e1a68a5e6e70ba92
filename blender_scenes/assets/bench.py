# SPDX-License-Identifier: Apache-2.0
"""Benches: park bench, plain bench, stone bench, garden bench with arms."""

from __future__ import annotations

from dataclasses import dataclass

from . import Asset, Builder


@dataclass(frozen=True)
class Bench:
    """Metres; `legs`: iron, wood or stone; `back` and `arms` or none."""

    width: float
    legs: str
    back: bool
    arms: bool = False


def build(b: Builder, bench: Bench, pose: str) -> None:
    w, seat = bench.width / 2, 0.45
    slat = "stone" if bench.legs == "stone" else "body/wood"
    if bench.legs == "stone":
        b.slab((-w, -0.24, seat - 0.09), (w, 0.24, seat), "body", 0.02)
    else:
        for k in range(4):
            y = -0.22 + 0.12 * k
            b.slab((-w, y, seat - 0.035), (w, y + 0.095, seat), slat, 0.006)
    frame = {"iron": "trim", "wood": "body/wood", "stone": "stone"}[bench.legs]
    thick = {"iron": 0.03, "wood": 0.045, "stone": 0.11}[bench.legs]
    for x in (-w + 0.16, w - 0.16):
        if bench.legs == "stone":
            b.slab((x - thick, -0.2, 0), (x + thick, 0.2, seat - 0.09), "stone", 0.02)
            b.columns.append((x, 0.0))
            continue
        for y in (-0.19, 0.19):
            b.slab((x - thick, y - thick, 0), (x + thick, y + thick, seat - 0.03), frame, 0.005)
            b.columns.append((x, y))
        b.slab((x - thick, -0.2, seat - 0.08), (x + thick, 0.2, seat - 0.03), frame, 0.005)
        if bench.back:
            with b.moved(to=(x, 0.21, seat - 0.05), turn=(-12, 0, 0)):
                b.slab((-thick, -0.02, 0), (thick, 0.03, 0.5), frame, 0.005)
        if bench.arms:
            b.slab((x - thick, -0.2, seat + 0.2), (x + thick, 0.26, seat + 0.235), frame, 0.006)
            b.slab((x - thick, -0.2, seat), (x + thick, -0.14, seat + 0.21), frame, 0.006)
    if bench.back:
        with b.moved(to=(0, 0.19, seat - 0.05), turn=(-12, 0, 0)):
            for z in (0.14, 0.27, 0.40):
                b.slab((-w, -0.03, z), (w, -0.005, z + 0.095), slat, 0.006)
        b.columns.extend((w * k / 4, 0.25) for k in range(-4, 5))


ASSET = Asset(
    "bench",
    build,
    {"park": Bench(1.5, "iron", True), "plain": Bench(1.3, "wood", False),
     "stone": Bench(1.3, "stone", False), "garden": Bench(1.4, "wood", True, True)},
    colours=("brown", "green", "white", "red", "blue"),
    has_front=True,
    faceless=("plain", "stone"),
    shelters={"park": 0.36, "plain": 0.36, "stone": 0.35, "garden": 0.36},
    grounded=True,
    places=("outdoors",),
)  # fmt: skip
