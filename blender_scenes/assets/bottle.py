# SPDX-License-Identifier: Apache-2.0
"""Bottles: wine, water, milk, flask."""

from __future__ import annotations

from dataclasses import dataclass

from . import Asset, Builder


@dataclass(frozen=True)
class Bottle:
    """`profile`: (radius, height) of the outside, metres; `cap` surface; `label` (low, high)."""

    profile: tuple[tuple[float, float], ...]
    cap: str
    label: tuple[float, float] | None = None


def build(b: Builder, bottle: Bottle, pose: str) -> None:
    profile = list(bottle.profile)
    b.disc(profile[0][0], 0.0, upwards=False)
    b.lathe(profile, surface="body/gloss")
    r, top = profile[-1]
    b.lathe([(1.15 * r, top - 0.022), (1.15 * r, top + 0.008)], surface=bottle.cap)
    b.disc(1.15 * r, top + 0.008, upwards=True, surface=bottle.cap)
    if bottle.label:
        low, high = bottle.label
        widest = max(x for x, _ in profile)
        b.lathe([(1.012 * widest, low), (1.012 * widest, high)], surface="label")


ASSET = Asset(
    "bottle",
    build,
    {"wine": Bottle(((0.036, 0.0), (0.038, 0.01), (0.038, 0.17), (0.034, 0.195), (0.016, 0.225),
                     (0.0135, 0.24), (0.0135, 0.30)), "trim", (0.06, 0.14)),
     "water": Bottle(((0.030, 0.0), (0.034, 0.008), (0.034, 0.10), (0.030, 0.115), (0.034, 0.13),
                      (0.034, 0.17), (0.016, 0.205), (0.015, 0.225)), "paper"),
     "milk": Bottle(((0.040, 0.0), (0.044, 0.01), (0.044, 0.12), (0.024, 0.18), (0.022, 0.20),
                     (0.026, 0.22)), "metal"),
     "flask": Bottle(((0.05, 0.0), (0.055, 0.02), (0.054, 0.05), (0.036, 0.10), (0.015, 0.135),
                      (0.014, 0.19)), "wood")},
    synonyms={"wine bottle": ("wine",), "water bottle": ("water",), "milk bottle": ("milk",)},
)  # fmt: skip
