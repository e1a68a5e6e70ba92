# SPDX-License-Identifier: Apache-2.0
"""People in different clothes; standing, waving, walking."""

from __future__ import annotations

from dataclasses import dataclass

from . import Asset, Builder


@dataclass(frozen=True)
class Person:
    """Surfaces of skin, hair and legs; `girth` scales widths, `size` everything."""

    skin: str
    hair: str
    legs: str
    size: float = 1.0
    girth: float = 1.0
    skirt: bool = False
    long_hair: bool = False


def build(b: Builder, person: Person, pose: str) -> None:
    step = 0.24 if pose == "walking" else 0.0
    with b.moved(size=person.size):
        _legs(b, person, step)
        _torso(b, person, pose, step)
        _head(b, person)


def _wide(chain, girth: float):
    return [(girth * x, y, z, girth * r) for x, y, z, r in chain]


def _legs(b: Builder, person: Person, step: float) -> None:
    hips = [(-0.05, 0, 0.96, 0.125), (0.05, 0, 0.96, 0.125)]
    chains = []
    for s in (-1, 1):
        y = s * step
        chains.append(
            [
                (s * 0.085, 0.1 * y, 0.90, 0.098),
                (s * 0.10, 0.5 * y - 0.01, 0.50, 0.070),
                (s * 0.105, y, 0.11, 0.056),
            ]
        )
    surface = person.skin if person.skirt else person.legs
    b.skin([_wide(c, person.girth) for c in (hips, *chains)], 0.02, surface)
    if person.skirt:
        b.rod((0, 0, 0.52), (0, 0, 1.06), 0.27 * person.girth, 0.14 * person.girth, person.legs, 28)
    for s in (-1, 1):
        b.ellipsoid(
            (s * 0.105 * person.girth, s * step - 0.055, 0.048), (0.058, 0.135, 0.048), "shoe", 16
        )


def _torso(b: Builder, person: Person, pose: str, step: float) -> None:
    chains = [
        [(-0.03, 0, 1.00, 0.128), (0.03, 0, 1.00, 0.128)],
        [(0, 0, 1.02, 0.135), (0, 0, 1.18, 0.138)],
        [(-0.05, 0, 1.34, 0.125), (0.05, 0, 1.34, 0.125)],
        [(0, 0, 1.18, 0.138), (0, 0, 1.34, 0.13)],
    ]
    hands = []
    for s in (-1, 1):
        shoulder = (s * 0.165, 0, 1.395, 0.066)
        if pose == "waving" and s == 1:
            chains.append([shoulder, (0.30, -0.02, 1.46, 0.054), (0.36, -0.03, 1.56, 0.049)])
            hands.append(
                [
                    (0.36, -0.03, 1.58, 0.042),
                    (0.40, -0.05, 1.78, 0.034),
                    (0.405, -0.05, 1.86, 0.044),
                ]
            )
        else:
            y = -s * 0.8 * step
            chains.append(
                [
                    shoulder,
                    (s * 0.245, 0.3 * y + 0.01, 1.18, 0.053),
                    (s * 0.255, 0.5 * y - 0.03, 1.08, 0.048),
                ]
            )
            hands.append(
                [
                    (s * 0.255, 0.5 * y - 0.03, 1.08, 0.040),
                    (s * 0.26, y - 0.08, 0.88, 0.033),
                    (s * 0.26, y - 0.09, 0.80, 0.045),
                ]
            )
    b.skin([_wide(c, person.girth) for c in chains], 0.02, "body")
    for hand in hands:
        b.tube(_wide(hand, person.girth), person.skin)


def _head(b: Builder, person: Person) -> None:
    skin, hair = person.skin, person.hair
    b.rod((0, 0, 1.42), (0, -0.005, 1.56), 0.056, 0.052, skin)
    b.ellipsoid((0, -0.01, 1.65), (0.092, 0.108, 0.128), skin, 24)
    b.ellipsoid((0, 0.020, 1.685), (0.099, 0.110, 0.116), hair, 24)
    if person.long_hair:
        b.ellipsoid((0, 0.055, 1.58), (0.108, 0.075, 0.19), hair, 24)
    b.ellipsoid((0, -0.121, 1.64), (0.016, 0.022, 0.022), skin, 10)
    b.ellipsoid((0, -0.105, 1.592), (0.030, 0.012, 0.008), "inner ear", 12)
    for s in (-1, 1):
        b.ellipsoid((s * 0.036, -0.104, 1.668), (0.017, 0.010, 0.013), "paper", 12)
        b.ellipsoid((s * 0.036, -0.111, 1.668), (0.009, 0.007, 0.011), "ink", 10)
        b.ellipsoid((s * 0.094, 0.0, 1.645), (0.014, 0.024, 0.032), skin, 10)


ASSET = Asset(
    "person",
    build,
    {
        "adult": Person("pale skin", "dark hair", "denim"),
        "long-haired": Person("tan skin", "dark hair", "khaki", 0.96, 0.94, False, True),
        "child": Person("pale skin", "fair hair", "denim", 0.68, 1.12),
        "skirted": Person("dark skin", "dark hair", "denim", 0.95, 0.95, True, True),
        "elder": Person("pale skin", "grey hair", "khaki", 0.98, 1.15),
    },
    poses=("standing", "waving", "walking"),
    wording="{name} in {colour}",
    has_front=True,
    grounded=True,
    synonyms={
        "human": (),
        "man": ("adult", "elder"),
        "woman": ("long-haired", "skirted"),
        "child": ("child",),
        "kid": ("child",),
    },
)
