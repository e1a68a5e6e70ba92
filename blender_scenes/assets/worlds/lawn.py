# SPDX-License-Identifier: Apache-2.0
"""Grass under an open sky."""

from . import SKIES, Surface, World

WORLD = World(
    "lawn",
    "outdoors",
    ("on a lawn", "on the grass"),
    grounds=(
        Surface((0.05, 0.15, 0.02), 0.95, pattern="noise", second=(0.13, 0.25, 0.05), scale=22.0,
                bump=0.6, wear=0.4),
        Surface((0.10, 0.16, 0.03), 0.95, pattern="noise", second=(0.22, 0.24, 0.08), scale=16.0,
                bump=0.6, wear=0.5),
    ),
    skies=SKIES,
)  # fmt: skip
