# SPDX-License-Identifier: Apache-2.0
"""Cats: shorthair, tabby, kitten, fluffy; standing, sitting, lying."""

from __future__ import annotations

from dataclasses import dataclass

from . import Asset, Builder


@dataclass(frozen=True)
class Cat:
    """`girth` scales the limbs' thickness, `head` the head, `size` everything."""

    fur: str = "body/fur"
    girth: float = 1.0
    head: float = 1.0
    size: float = 1.0


def build(b: Builder, cat: Cat, pose: str) -> None:
    chains, head = {"standing": _standing, "sitting": _sitting, "lying": _lying}[pose]()
    with b.moved(size=cat.size):
        fat = [[(x, y, z, r * cat.girth) for x, y, z, r in chain] for chain in chains]
        lift = -min(z - r for chain in fat for _, _, z, r in chain)
        with b.moved(to=(0, 0, lift)):
            _skin_and_face(b, fat, head, cat)


def _skin_and_face(b: Builder, chains, head, cat: Cat) -> None:
    k = 1.12 * cat.head
    cheeks = [[(s * 0.035, -0.060, -0.028, 0.042)] for s in (-1, 1)]
    skull = [[(-0.012, 0, 0, 0.088), (0.012, 0, 0, 0.088)]]
    ears = [
        [
            (s * 0.052, 0.004, 0.045, 0.045),
            (s * 0.066, 0.002, 0.090, 0.026),
            (s * 0.078, 0.0, 0.135, 0.009),
        ]
        for s in (-1, 1)
    ]
    grown = [
        [(head[0] + k * x, head[1] + k * y, head[2] + k * z, k * r) for x, y, z, r in chain]
        for chain in (*cheeks, *skull, *ears)
    ]
    b.skin([*chains, *grown], 0.0105, cat.fur)
    with b.moved(to=head, size=k):
        for s in (-1, 1):
            b.ellipsoid((s * 0.041, -0.076, 0.018), (0.023, 0.016, 0.024), "eye", 14)
            b.ellipsoid((s * 0.041, -0.088, 0.018), (0.008, 0.008, 0.019), "ink", 12)
            b.rod(
                (s * 0.062, -0.026, 0.066), (s * 0.074, -0.014, 0.120), 0.024, 0.004, "inner ear", 8
            )
            for n in (-1, 0, 1):
                b.rod(
                    (s * 0.045, -0.098, -0.030 + 0.008 * n),
                    (s * 0.165, -0.100, -0.025 + 0.022 * n),
                    0.0022,
                    0.0014,
                    "paper",
                    5,
                )
        b.ellipsoid((0, -0.104, -0.012), (0.016, 0.012, 0.011), "inner ear", 12)
        b.ellipsoid((0, -0.082, -0.040), (0.044, 0.028, 0.025), "white fur", 14)


def _standing():
    legs = [
        chain
        for s in (-1, 1)
        for chain in (
            [
                (s * 0.055, -0.20, 0.22, 0.045),
                (s * 0.055, -0.205, 0.12, 0.028),
                (s * 0.055, -0.21, 0.035, 0.024),
                (s * 0.055, -0.235, 0.024, 0.026),
            ],
            [
                (s * 0.06, 0.18, 0.24, 0.06),
                (s * 0.065, 0.215, 0.13, 0.034),
                (s * 0.062, 0.235, 0.07, 0.024),
                (s * 0.062, 0.20, 0.024, 0.026),
            ],
        )
    ]
    trunk = [
        (0, -0.22, 0.27, 0.085),
        (0, -0.08, 0.265, 0.088),
        (0, 0.08, 0.265, 0.088),
        (0, 0.20, 0.275, 0.082),
    ]
    neck = [(0, -0.23, 0.30, 0.07), (0, -0.30, 0.37, 0.062)]
    tail = [
        (0, 0.26, 0.30, 0.027),
        (0, 0.36, 0.36, 0.025),
        (0, 0.42, 0.47, 0.023),
        (0, 0.40, 0.58, 0.021),
        (0, 0.34, 0.64, 0.018),
    ]
    return [trunk, neck, tail, *legs], (0, -0.335, 0.40)


def _sitting():
    legs = [
        chain
        for s in (-1, 1)
        for chain in (
            [
                (s * 0.05, -0.09, 0.28, 0.042),
                (s * 0.05, -0.125, 0.14, 0.030),
                (s * 0.05, -0.13, 0.035, 0.026),
                (s * 0.05, -0.16, 0.024, 0.028),
            ],
            [(s * 0.105, 0.05, 0.095, 0.085), (s * 0.105, 0.09, 0.085, 0.08)],
            [(s * 0.115, 0.02, 0.034, 0.034), (s * 0.11, -0.10, 0.028, 0.030)],
        )
    ]
    trunk = [(0, 0.08, 0.13, 0.125), (0, 0.02, 0.25, 0.105), (0, -0.05, 0.36, 0.08)]
    neck = [(0, -0.06, 0.38, 0.07), (0, -0.085, 0.45, 0.065)]
    tail = [
        (0.05, 0.18, 0.06, 0.03),
        (0.16, 0.20, 0.035, 0.028),
        (0.24, 0.10, 0.03, 0.026),
        (0.26, -0.02, 0.03, 0.022),
    ]
    return [trunk, neck, tail, *legs], (0, -0.10, 0.50)


def _lying():
    trunk = [(0, -0.16, 0.105, 0.085), (0, 0.0, 0.11, 0.105), (0, 0.16, 0.105, 0.10)]
    neck = [(0, -0.18, 0.13, 0.07), (0, -0.23, 0.19, 0.062)]
    legs = [
        chain
        for s in (-1, 1)
        for chain in (
            [(s * 0.07, -0.16, 0.05, 0.036), (s * 0.065, -0.32, 0.028, 0.027)],
            [(s * 0.10, 0.14, 0.07, 0.065), (s * 0.12, 0.02, 0.034, 0.032)],
        )
    ]
    tail = [
        (0.05, 0.25, 0.05, 0.03),
        (0.18, 0.26, 0.035, 0.027),
        (0.25, 0.14, 0.03, 0.024),
        (0.24, 0.02, 0.03, 0.02),
    ]
    return [trunk, neck, tail, *legs], (0, -0.255, 0.245)


ASSET = Asset(
    "cat",
    build,
    {
        "shorthair": Cat(),
        "tabby": Cat("body/striped"),
        "kitten": Cat("body/fur", 1.05, 1.22, 0.7),
        "fluffy": Cat("body/fur", 1.3, 1.05),
    },
    poses=("standing", "sitting", "lying"),
    colours=("black", "white", "orange", "grey", "brown"),
    has_front=True,
    synonyms={"kitten": ("kitten",), "tabby": ("tabby",), "kitty": ()},
)
