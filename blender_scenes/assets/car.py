# SPDX-License-Identifier: Apache-2.0
"""Cars: plain, saloon, hatchback, van, pick-up."""

from __future__ import annotations

import math
from dataclasses import dataclass

from . import Asset, Builder


@dataclass(frozen=True)
class Car:
    """Side views as (x, z) in metres, anticlockwise seen from -y: body, cabin, windows."""

    body: tuple[tuple[float, float], ...]
    cabin: tuple[tuple[float, float], ...]
    windows: tuple[tuple[tuple[float, float], ...], ...]
    wheels: tuple[float, float] = (-1.3, 1.3)
    radius: float = 0.34


def plain(b: Builder) -> None:
    side = 0.29
    b.prism([(-0.58, 0.11), (0.56, 0.11), (0.6, 0.22), (0.57, 0.36), (-0.58, 0.4)], -side, side)
    cabin = [(-0.52, 0.39), (0.32, 0.37), (0.13, 0.66), (-0.38, 0.66)]
    b.prism(cabin, -side + 0.03, side - 0.03)
    rear, front = (
        [(-0.44, 0.43), (-0.16, 0.43), (-0.16, 0.61), (-0.35, 0.61)],
        [(-0.1, 0.43), (0.23, 0.43), (0.11, 0.61), (-0.1, 0.61)],
    )
    for window in (rear, front):
        b.prism(window, -side + 0.02, side - 0.02, "trim")
    for low, high in (((0.325, 0.38), (0.15, 0.645)), ((-0.51, 0.42), (-0.395, 0.645))):
        _windscreen(b, low, high, side - 0.07)
    for x in (-0.36, 0.36):
        for y in (-0.25, 0.25):
            b.wheel(x, y, radius=0.155, width=0.12)


def _windscreen(
    b: Builder,
    low: tuple[float, float],
    high: tuple[float, float],
    y: float,
    surface: str = "trim",
    proud: float = 0.012,
) -> None:
    """A slanting pane between two heights (x, z), a little proud of the cabin."""
    out = math.copysign(proud, low[0])
    (x0, z0), (x1, z1) = low, high
    corners = [(x0 + out, z0), (x1 + out, z1), (x1 - out, z1), (x0 - out, z0)]
    b.prism(corners if out > 0 else corners[::-1], -y, y, surface)


def build(b: Builder, car: Car, pose: str) -> None:
    with b.moved(turn=(0, 0, -90)):
        _build_along_x(b, car)
    for x in car.wheels:
        b.columns.extend(((-0.76, -x), (0.76, -x)))


def _build_along_x(b: Builder, car: Car) -> None:
    side = 0.84
    b.prism(car.body, -side, side, "body/gloss")
    b.prism(car.cabin, -side + 0.12, side - 0.12, "body/gloss")
    for window in car.windows:
        b.prism(window, -side + 0.105, side - 0.105, "glass")
    rear_low, front_low, front_high, rear_high = car.cabin[:4]
    for low, high in ((front_low, front_high), (rear_low, rear_high)):
        trimmed = [
            (low[0] + t * (high[0] - low[0]), low[1] + t * (high[1] - low[1])) for t in (0.14, 0.9)
        ]
        _windscreen(b, trimmed[0], trimmed[1], side - 0.24, "glass", 0.02)
    r = car.radius
    for x in car.wheels:
        for s in (-1, 1):
            for radius, inner, outer, surface in (
                (r, 0.62, 0.87, "ink"),
                (0.6 * r, 0.7, 0.885, "metal"),
            ):
                b.rod((x, s * inner, r), (x, s * outer, r), radius, radius, surface, 28)
        turns = [math.pi * (k / 16 * 1.1 - 0.05) for k in range(17)]
        arch = [(x + (r + 0.06) * math.cos(t), r + (r + 0.06) * math.sin(t)) for t in turns]
        b.prism(arch, -0.846, 0.846, "trim")
    nose, tail = max(x for x, _ in car.body), min(x for x, _ in car.body)
    for s in (-1, 1):
        b.ellipsoid((nose - 0.09, s * 0.58, 0.64), (0.08, 0.17, 0.10), "headlight", 16)
        b.slab(
            (tail - 0.005, s * 0.6 - 0.16, 0.66), (tail + 0.14, s * 0.6 + 0.16, 0.78), "taillight"
        )
    b.slab((nose - 0.10, -0.42, 0.42), (nose + 0.01, 0.42, 0.55), "trim")


LOWER = ((-2.05, 0.26), (2.02, 0.26), (2.10, 0.50))
ASSET = Asset(
    "car",
    build,
    {
        "saloon": Car(
            (*LOWER, (2.02, 0.80), (1.15, 0.92), (-1.55, 0.96), (-2.05, 0.90), (-2.12, 0.55)),
            ((-1.55, 0.90), (1.10, 0.88), (0.42, 1.40), (-0.92, 1.42)),
            (
                ((-1.16, 0.97), (-0.28, 0.97), (-0.28, 1.33), (-0.86, 1.34)),
                ((-0.18, 0.97), (0.78, 0.95), (0.36, 1.32), (-0.18, 1.33)),
            ),
        ),
        "hatchback": Car(
            (*LOWER, (2.0, 0.84), (1.2, 0.96), (-1.9, 1.0), (-2.0, 0.55)),
            ((-1.95, 0.92), (1.15, 0.92), (0.45, 1.50), (-1.55, 1.50)),
            (
                ((-1.62, 1.02), (-0.50, 1.02), (-0.50, 1.41), (-1.42, 1.41)),
                ((-0.40, 1.02), (0.80, 1.0), (0.38, 1.41), (-0.40, 1.41)),
            ),
        ),
        "van": Car(
            (*LOWER, (2.05, 0.95), (1.6, 1.06), (-2.05, 1.08), (-2.1, 0.55)),
            ((-2.08, 1.0), (1.62, 1.0), (1.05, 1.92), (-2.02, 1.95)),
            (
                ((0.2, 1.12), (1.25, 1.12), (0.92, 1.72), (0.2, 1.72)),
                ((-0.9, 1.12), (0.05, 1.12), (0.05, 1.72), (-0.9, 1.72)),
            ),
        ),
        "pick-up": Car(
            (*LOWER, (2.05, 0.88), (1.2, 1.0), (-2.1, 1.0), (-2.15, 0.5)),
            ((-0.55, 0.95), (1.15, 0.95), (0.5, 1.58), (-0.45, 1.58)),
            (((-0.40, 1.04), (0.82, 1.04), (0.42, 1.48), (-0.36, 1.48)),),
            radius=0.38,
        ),
    },
    has_front=True,
    solid_top=True,
    plain=plain,
    synonyms={
        "automobile": (),
        "van": ("van",),
        "pick-up": ("pick-up",),
        "pickup": ("pick-up",),
        "truck": ("pick-up",),
    },
    grounded=True,
    places=("outdoors",),
)
