# SPDX-License-Identifier: Apache-2.0
"""Birds: songbird, duck, crow, chick; perching, flying."""

from __future__ import annotations

from dataclasses import dataclass

from . import Asset, Builder


@dataclass(frozen=True)
class Bird:
    """Metres: `length` and `width` of half the body, `neck`, `leg`, `bill`, `tail`."""

    length: float = 0.10
    width: float = 0.062
    neck: float = 0.05
    leg: float = 0.05
    bill: float = 0.045
    flat_bill: bool = False
    tail: float = 0.11
    belly: str = "body/pale"


def build(b: Builder, bird: Bird, pose: str) -> None:
    n, w = bird.length, bird.width
    flying = pose == "flying"
    z = bird.leg + 0.9 * w
    tilt = 0.0 if flying else 0.35
    rear, front = (
        (0, 0.6 * n, z - tilt * 0.5 * n, 0.55 * w),
        (0, -0.5 * n, z + tilt * 0.5 * n, 0.92 * w),
    )
    head = (0, -0.75 * n - 0.35 * bird.neck, z + tilt * 0.5 * n + bird.neck + 0.35 * w, 0.68 * w)
    tail = [
        (0, 0.6 * n, z - tilt * 0.5 * n, 0.45 * w),
        (0, 0.6 * n + bird.tail, z - tilt * n + 0.1 * w, 0.16 * w),
    ]
    b.skin([[rear, (0, 0.1 * n, z, w), front], [front, head], tail], 0.008, "body/fur")
    b.ellipsoid((0, -0.42 * n, z - 0.06 * w), (0.82 * w, 0.66 * n, 0.86 * w), bird.belly, 20)
    _, hy, hz, r = head
    for s in (-1, 1):
        b.ellipsoid(
            (s * 0.62 * r, hy - 0.62 * r, hz + 0.22 * r),
            (0.20 * r, 0.20 * r, 0.24 * r),
            "paper",
            12,
        )
        b.ellipsoid(
            (s * 0.70 * r, hy - 0.72 * r, hz + 0.22 * r), (0.15 * r, 0.15 * r, 0.18 * r), "ink", 12
        )
    if bird.flat_bill:
        b.ellipsoid((0, hy - 1.15 * r, hz - 0.15 * r), (0.45 * r, bird.bill, 0.17 * r), "beak", 16)
    else:
        b.rod(
            (0, hy - 0.75 * r, hz - 0.05 * r),
            (0, hy - 0.9 * r - bird.bill, hz - 0.15 * r),
            0.34 * r,
            0.02 * r,
            "beak",
            12,
        )
    for s in (-1, 1):
        if flying:
            _spread_wing(b, s, n, w, z)
        else:
            with b.moved(to=(s * 0.92 * w, 0.16 * n, z + 0.12 * w), turn=(-14, 0, s * 8)):
                b.ellipsoid((0, 0, 0), (0.26 * w, 0.95 * n, 0.62 * w), "body/dark", 16)
                b.rod(
                    (0, 0.6 * n, 0), (0, 1.55 * n, -0.06 * w), 0.26 * w, 0.04 * w, "body/dark", 10
                )
            _leg(b, s, w, z)


def _leg(b: Builder, s: int, w: float, z: float) -> None:
    x = s * 0.42 * w
    b.rod((x, 0, z - 0.6 * w), (x, -0.01, 0.008), 0.007, 0.006, "beak", 8)
    for toe in (-0.6, 0.0, 0.6):
        b.rod((x, -0.01, 0.006), (x + 0.03 * toe, -0.05, 0.006), 0.006, 0.004, "beak", 6)
    b.rod((x, -0.01, 0.006), (x, 0.022, 0.006), 0.006, 0.004, "beak", 6)


def _spread_wing(b: Builder, s: int, n: float, w: float, z: float) -> None:
    """An arched plate from the shoulder to a pointed tip."""
    spans = [(0.3, 0.6, 0.5), (1.1, 0.66, 1.6), (2.0, 0.62, 2.7), (3.0, 0.5, 3.5), (3.9, 0.2, 4.0)]
    top, low = [], []
    for k, (out, chord, up) in enumerate(spans):
        x, lift, back = s * out * w, z + up * 0.6 * w, 0.12 * k * n
        for y in (-chord * n + back, chord * n + back):
            top.append((x, y, lift))
            low.append((x, y, lift - 0.10 * w))
    points = top + low
    m = len(top)
    faces = []
    for k in range(len(spans) - 1):
        a, c = 2 * k, 2 * k + 2
        faces += [
            (a, a + 1, c + 1, c),
            (m + a, m + c, m + c + 1, m + a + 1),
            (a, c, m + c, m + a),
            (a + 1, m + a + 1, m + c + 1, c + 1),
        ]
    e = m - 2
    faces += [(e, e + 1, m + e + 1, m + e), (0, m, m + 1, 1)]
    b.add(points, faces, False, "body/dark")
    b.rod(
        (s * 0.3 * w, 0, z + 0.3 * w), (s * 1.1 * w, 0, z + 0.9 * w), 0.4 * w, 0.3 * w, "body/dark"
    )


ASSET = Asset(
    "bird",
    build,
    {
        "songbird": Bird(),
        "duck": Bird(0.17, 0.095, 0.13, 0.05, 0.05, True, 0.10),
        "crow": Bird(0.15, 0.078, 0.05, 0.075, 0.075, False, 0.17, "body/fur"),
        "chick": Bird(0.055, 0.062, 0.035, 0.03, 0.028, False, 0.03, "body"),
    },
    poses=("perching", "flying"),
    colours=("blue", "red", "yellow", "white", "black", "brown", "green"),
    has_front=True,
    floats=True,
    flies=("flying",),
    synonyms={"songbird": ("songbird",), "duck": ("duck",), "crow": ("crow",), "chick": ("chick",)},
)
