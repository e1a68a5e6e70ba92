# SPDX-License-Identifier: Apache-2.0
"""The top of a table in a room, for small things."""

from . import Surface, World

WORLD = World(
    "table top",
    "indoors",
    ("on a table top",),
    grounds=(
        Surface((0.30, 0.14, 0.05), 0.35, pattern="wave", second=(0.42, 0.22, 0.09), scale=2.0,
                wear=0.3),
        Surface((0.6, 0.58, 0.55), 0.4, pattern="noise", second=(0.5, 0.48, 0.46), scale=9.0),
        Surface((0.2, 0.26, 0.34), 0.9, pattern="checker", second=(0.6, 0.6, 0.58), scale=14.0),
    ),
    walls=(
        Surface((0.42, 0.4, 0.36), 0.9, wear=0.2),
        Surface((0.3, 0.34, 0.36), 0.9, wear=0.2),
    ),
    largest=0.65,
)  # fmt: skip
