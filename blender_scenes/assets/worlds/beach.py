# SPDX-License-Identifier: Apache-2.0
"""Sand under an open sky."""

from . import SKIES, Surface, World

WORLD = World(
    "beach",
    "outdoors",
    ("on a beach", "on the sand"),
    grounds=(
        Surface((0.62, 0.5, 0.34), 0.95, pattern="noise", second=(0.52, 0.41, 0.27), scale=4.0,
                bump=0.7, wear=0.3),
        Surface((0.5, 0.42, 0.32), 0.9, pattern="noise", second=(0.42, 0.34, 0.25), scale=8.0,
                bump=0.6, wear=0.3),
    ),
    skies=SKIES,
)  # fmt: skip
