# SPDX-License-Identifier: Apache-2.0
"""Dogs: hound, terrier, dachshund, puppy; standing, sitting."""

from __future__ import annotations

from dataclasses import dataclass

from . import Asset, Builder


@dataclass(frozen=True)
class Dog:
    """`legs`, `length`, `muzzle` scale those parts, `size` everything; `ears`: hanging or up."""

    legs: float = 1.0
    length: float = 1.0
    muzzle: float = 1.0
    size: float = 1.0
    ears: str = "hanging"
    head: float = 1.0


def build(b: Builder, dog: Dog, pose: str) -> None:
    chains, neck = (_sitting if pose == "sitting" else _standing)(dog)
    k, m = dog.head, dog.muzzle
    x, y, z = neck
    skull = [[(x, y, z, 0.105 * k), (x, y - 0.01, z + 0.01, 0.102 * k)]]
    snout = [
        [
            (x, y - 0.06 * k, z - 0.025 * k, 0.070 * k),
            (x, y - (0.10 + 0.10 * m) * k, z - 0.045 * k, 0.050 * k),
        ]
    ]
    ears = []
    if dog.ears == "up":
        ears = [
            [
                (s * 0.06 * k, y + 0.02, z + 0.06 * k, 0.045 * k),
                (s * 0.085 * k, y + 0.02, z + 0.19 * k, 0.012 * k),
            ]
            for s in (-1, 1)
        ]
    with b.moved(size=dog.size):
        b.skin([*chains, *skull, *snout, *ears], 0.016, "body/fur")
        with b.moved(to=(x, y, z), size=k):
            for s in (-1, 1):
                b.ellipsoid((s * 0.050, -0.090, 0.045), (0.022, 0.018, 0.024), "paper", 12)
                b.ellipsoid((s * 0.052, -0.100, 0.046), (0.015, 0.014, 0.017), "ink", 12)
                if dog.ears == "hanging":
                    with b.moved(to=(s * 0.108, 0.02, -0.02), turn=(0, -s * 13, 0)):
                        b.ellipsoid((0, 0, 0), (0.03, 0.066, 0.12), "body/dark", 16)
            tip = -0.10 - 0.10 * m
            b.ellipsoid((0, tip - 0.045, -0.025), (0.030, 0.022, 0.024), "ink", 14)
            b.rod((0, tip + 0.05, -0.085), (0, tip - 0.03, -0.078), 0.02, 0.014, "inner ear", 8)
        b.rod(
            (x, y + 0.075 * k, z - 0.13),
            (x, y + 0.06 * k, z - 0.095),
            0.108 * k,
            0.108 * k,
            "collar",
            24,
        )


def _standing(dog: Dog):
    low, n = 0.30 * dog.legs, dog.length
    up = low + 0.11
    legs = [
        chain
        for s in (-1, 1)
        for chain in (
            [
                (s * 0.08, -0.26 * n, up - 0.07, 0.065),
                (s * 0.08, -0.26 * n, 0.55 * low, 0.042),
                (s * 0.08, -0.26 * n, 0.05, 0.036),
                (s * 0.08, -0.26 * n - 0.04, 0.036, 0.038),
            ],
            [
                (s * 0.085, 0.24 * n, up - 0.05, 0.085),
                (s * 0.09, 0.24 * n + 0.05, 0.6 * low, 0.046),
                (s * 0.088, 0.24 * n + 0.07, 0.09, 0.035),
                (s * 0.088, 0.24 * n + 0.03, 0.036, 0.038),
            ],
        )
    ]
    trunk = [
        (0, -0.28 * n, up, 0.135),
        (0, -0.1 * n, up - 0.01, 0.125),
        (0, 0.1 * n, up, 0.115),
        (0, 0.26 * n, up + 0.01, 0.11),
    ]
    neck = [(0, -0.28 * n - 0.05, up + 0.06, 0.10), (0, -0.28 * n - 0.14, up + 0.20, 0.085)]
    tail = [
        (0, 0.34 * n, up + 0.05, 0.036),
        (0, 0.34 * n + 0.10, up + 0.16, 0.031),
        (0, 0.34 * n + 0.15, up + 0.30, 0.024),
    ]
    return [trunk, neck, tail, *legs], (0, -0.28 * n - 0.18, up + 0.26)


def _sitting(dog: Dog):
    n = 0.5 + 0.5 * dog.length
    legs = [
        chain
        for s in (-1, 1)
        for chain in (
            [
                (s * 0.085, -0.13, 0.36, 0.068),
                (s * 0.085, -0.17, 0.18, 0.044),
                (s * 0.085, -0.18, 0.05, 0.038),
                (s * 0.085, -0.22, 0.036, 0.040),
            ],
            [
                (s * 0.14, 0.12, 0.13, 0.105),
                (s * 0.145, 0.0, 0.07, 0.05),
                (s * 0.15, -0.10, 0.036, 0.040),
            ],
        )
    ]
    trunk = [(0, 0.16, 0.16, 0.145), (0, 0.04, 0.32 * n, 0.135), (0, -0.07, 0.47 * n, 0.12)]
    neck = [(0, -0.09, 0.50 * n, 0.10), (0, -0.13, 0.62 * n, 0.09)]
    tail = [(0, 0.28, 0.06, 0.038), (0.08, 0.40, 0.045, 0.032), (0.20, 0.44, 0.04, 0.025)]
    return [trunk, neck, tail, *legs], (0, -0.16, 0.62 * n + 0.08)


ASSET = Asset(
    "dog",
    build,
    {
        "hound": Dog(),
        "terrier": Dog(0.8, 0.8, 0.7, 0.8, "up"),
        "dachshund": Dog(0.45, 1.45, 1.2, 0.8),
        "puppy": Dog(0.7, 0.75, 0.55, 0.65, "hanging", 1.25),
        "shepherd": Dog(1.1, 1.05, 1.1, 1.05, "up"),
    },
    poses=("standing", "sitting"),
    colours=("brown", "black", "white", "grey", "orange"),
    has_front=True,
    synonyms={
        "puppy": ("puppy",),
        "hound": ("hound",),
        "terrier": ("terrier",),
        "dachshund": ("dachshund",),
    },
)
