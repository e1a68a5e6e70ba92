# SPDX-License-Identifier: Apache-2.0
"""A street: asphalt or paving before the front of a building."""

from . import SKIES, Surface, World

WORLD = World(
    "street",
    "outdoors",
    ("in a street", "on the street"),
    grounds=(
        Surface((0.09, 0.09, 0.095), 0.9, pattern="noise", second=(0.14, 0.14, 0.14), scale=35.0,
                bump=0.4, wear=0.4),
        Surface((0.3, 0.29, 0.28), 0.9, pattern="brick", second=(0.25, 0.24, 0.23), scale=1.2,
                bump=0.3, wear=0.4),
    ),
    walls=(
        Surface((0.40, 0.16, 0.11), 0.9, pattern="brick", second=(0.33, 0.13, 0.09), scale=3.2,
                bump=0.4, wear=0.4),
        Surface((0.45, 0.42, 0.36), 0.9, pattern="noise", second=(0.4, 0.37, 0.32), scale=4.0,
                bump=0.2, wear=0.5),
        Surface((0.3, 0.31, 0.33), 0.9, pattern="brick", second=(0.26, 0.27, 0.29), scale=0.8,
                bump=0.2, wear=0.4),
    ),
    skies=SKIES,
    windows=True,
)  # fmt: skip
