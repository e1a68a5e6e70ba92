# SPDX-License-Identifier: Apache-2.0
"""A room: boards, tiles or carpet, a painted wall with windows."""

from . import Surface, World

WORLD = World(
    "room",
    "indoors",
    ("in a room", "indoors"),
    grounds=(
        Surface((0.24, 0.12, 0.055), 0.45, pattern="brick", second=(0.32, 0.17, 0.08), scale=1.4,
                bump=0.15, wear=0.3),
        Surface((0.42, 0.30, 0.18), 0.45, pattern="brick", second=(0.5, 0.37, 0.24), scale=1.1,
                bump=0.15, wear=0.3),
        Surface((0.55, 0.53, 0.5), 0.3, pattern="checker", second=(0.35, 0.34, 0.33), scale=2.2,
                wear=0.2),
        Surface((0.3, 0.24, 0.22), 1.0, pattern="noise", second=(0.36, 0.3, 0.27), scale=60.0,
                bump=0.4, wear=0.2),
    ),
    walls=(
        Surface((0.52, 0.48, 0.40), 0.9, pattern="noise", second=(0.56, 0.52, 0.45), scale=3.0,
                bump=0.05, wear=0.15),
        Surface((0.42, 0.5, 0.5), 0.9, wear=0.2, bump=0.05),
        Surface((0.62, 0.6, 0.56), 0.9, wear=0.15, bump=0.05),
        Surface((0.5, 0.4, 0.34), 0.9, wear=0.2, bump=0.05),
    ),
    windows=True,
)  # fmt: skip
