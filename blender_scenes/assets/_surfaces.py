# SPDX-License-Identifier: Apache-2.0
"""What surfaces look like: linear RGB reflectance, roughness, metal, light, a second colour."""

from __future__ import annotations

from dataclasses import dataclass

Rgb = tuple[float, float, float]

COLOURS: dict[str, Rgb] = {
    "red": (0.75, 0.012, 0.012),
    "green": (0.015, 0.42, 0.03),
    "blue": (0.012, 0.06, 0.75),
    "yellow": (0.88, 0.66, 0.01),
    "purple": (0.27, 0.02, 0.5),
    "orange": (0.9, 0.19, 0.005),
    "white": (0.88, 0.88, 0.88),
    "black": (0.008, 0.008, 0.008),
    "brown": (0.19, 0.075, 0.025),
    "grey": (0.27, 0.27, 0.28),
    "pink": (0.9, 0.3, 0.45),
}
"""Base colours by word, linear RGB reflectance."""


@dataclass(frozen=True)
class Surface:
    """`pattern` mixes `second` in: "wave" (grain, stripes), "noise" (spots, leaves), "brick" (also
    boards and flags) or "checker". `bump` raises the pattern, `wear` darkens it in
    patches.
    """

    rgb: Rgb
    roughness: float = 0.6
    metal: float = 0.0
    light: float = 0.0
    pattern: str | None = None
    second: Rgb = (0.0, 0.0, 0.0)
    scale: float = 5.0
    bump: float = 0.0
    wear: float = 0.0


SURFACES = {
    "trim": Surface((0.02, 0.02, 0.025)),
    "glass": Surface((0.03, 0.05, 0.07), 0.08),
    "pane": Surface((0.16, 0.30, 0.42), 0.15),
    "metal": Surface((0.55, 0.55, 0.58), 0.3, 1.0),
    "brass": Surface((0.7, 0.45, 0.12), 0.3, 1.0),
    "headlight": Surface((0.95, 0.93, 0.8), 0.2),
    "taillight": Surface((0.6, 0.01, 0.01), 0.3),
    "bulb": Surface((1.0, 0.85, 0.55), light=2.5),
    "flame": Surface((1.0, 0.28, 0.02), light=3.0),
    "flame core": Surface((1.0, 0.75, 0.15), light=5.0),
    "wood": Surface((0.30, 0.14, 0.05), 0.5, pattern="wave", second=(0.42, 0.22, 0.09), scale=2.2),
    "log": Surface((0.10, 0.05, 0.02), 0.9),
    "log end": Surface((0.55, 0.36, 0.18), 0.9),
    "bark": Surface((0.12, 0.07, 0.03), 0.95),
    "brick": Surface((0.36, 0.10, 0.06), 0.9),
    "stone": Surface((0.38, 0.36, 0.33), 0.9, pattern="noise", second=(0.24, 0.23, 0.22)),
    "soot": Surface((0.012, 0.011, 0.010), 0.95),
    "roof": Surface((0.28, 0.06, 0.03), 0.8),
    "slate": Surface((0.07, 0.08, 0.10), 0.7),
    "plaster": Surface((0.80, 0.77, 0.70), 0.9),
    "card": Surface((0.50, 0.32, 0.17), 0.9),
    "tape": Surface((0.75, 0.65, 0.45), 0.4),
    "paper": Surface((0.85, 0.82, 0.74), 0.8),
    "coffee": Surface((0.06, 0.025, 0.01), 0.15),
    "label": Surface((0.85, 0.80, 0.65), 0.7),
    "book red": Surface((0.5, 0.05, 0.05)),
    "book blue": Surface((0.05, 0.2, 0.45)),
    "book green": Surface((0.08, 0.33, 0.13)),
    "book yellow": Surface((0.7, 0.55, 0.2)),
    "pale skin": Surface((0.75, 0.50, 0.38), 0.55),
    "tan skin": Surface((0.50, 0.30, 0.19), 0.55),
    "dark skin": Surface((0.17, 0.085, 0.05), 0.55),
    "dark hair": Surface((0.03, 0.02, 0.015), 0.6),
    "fair hair": Surface((0.55, 0.36, 0.12), 0.6),
    "grey hair": Surface((0.45, 0.45, 0.45), 0.6),
    "denim": Surface((0.05, 0.08, 0.20), 0.85),
    "khaki": Surface((0.33, 0.27, 0.17), 0.85),
    "shoe": Surface((0.02, 0.02, 0.02), 0.4),
    "ink": Surface((0.01, 0.01, 0.01), 0.2),
    "eye": Surface((0.35, 0.6, 0.08), 0.15),
    "inner ear": Surface((0.75, 0.30, 0.30)),
    "beak": Surface((0.9, 0.42, 0.02), 0.4),
    "collar": Surface((0.7, 0.03, 0.03), 0.5),
    "white fur": Surface((0.85, 0.82, 0.78), 0.9),
}


def surface(name: str, colour: str) -> Surface:
    """The surface of a name for an object of a colour.

    `body` is the colour itself; `body/gloss`, `body/fur`, `body/wood`, `body/striped`,
    `body/leaves`, `body/dark`, `body/pale` and `body/mark` (black or white) are made from it.

    Raises:
        KeyError: no surface or colour has the name.
    """
    rgb = COLOURS[colour]
    shade = tuple(0.45 * c for c in rgb)
    # Black has no darker shade: its pattern is a lighter one.
    second = shade if max(rgb) > 0.05 else tuple(0.10 + c for c in rgb)
    made = {
        "body": Surface(rgb),
        "body/gloss": Surface(rgb, 0.2),
        "body/fur": Surface(rgb, 0.9),
        "body/dark": Surface(shade, 0.9),
        "body/mark": Surface((0.01, 0.01, 0.01) if sum(rgb) > 1.3 else (0.85, 0.82, 0.74), 0.4),
        "body/pale": Surface(tuple(0.5 + 0.5 * c for c in rgb), 0.8),
        "body/wood": Surface(
            rgb, 0.5, pattern="wave", second=tuple(0.65 * c for c in rgb), scale=2.2
        ),
        "body/striped": Surface(rgb, 0.9, pattern="wave", second=second, scale=5.0),
        "body/leaves": Surface(rgb, 0.9, pattern="noise", second=shade, scale=6.0),
    }
    return made[name] if name in made else SURFACES[name]
