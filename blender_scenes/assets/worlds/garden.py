# SPDX-License-Identifier: Apache-2.0
"""A garden: grass or gravel before a hedge or a wall."""

from . import SKIES, Surface, World

HEDGE = Surface((0.02, 0.09, 0.015), 0.95, pattern="noise", second=(0.07, 0.2, 0.04), scale=14.0,
                bump=1.0, wear=0.3)  # fmt: skip
BRICKS = Surface((0.36, 0.13, 0.08), 0.9, pattern="brick", second=(0.28, 0.11, 0.07), scale=3.4,
                 bump=0.4, wear=0.4)  # fmt: skip
FENCE = Surface((0.3, 0.19, 0.1), 0.8, pattern="wave", second=(0.4, 0.27, 0.15), scale=1.4,
                bump=0.4, wear=0.4)  # fmt: skip
WORLD = World(
    "garden",
    "outdoors",
    ("in a garden",),
    grounds=(
        Surface((0.05, 0.15, 0.02), 0.95, pattern="noise", second=(0.13, 0.25, 0.05), scale=22.0,
                bump=0.6, wear=0.4),
        Surface((0.34, 0.31, 0.27), 0.95, pattern="noise", second=(0.22, 0.2, 0.18), scale=45.0,
                bump=0.8, wear=0.3),
    ),
    walls=(HEDGE, BRICKS, FENCE),
    skies=SKIES,
)  # fmt: skip
