# SPDX-License-Identifier: Apache-2.0
"""A grey ground before a backdrop of one colour."""

from . import Surface, World

WORLD = World(
    "studio",
    "indoors",
    ("in a studio",),
    walls=(
        Surface((0.32, 0.33, 0.36), 0.9),
        Surface((0.55, 0.5, 0.44), 0.9),
        Surface((0.22, 0.3, 0.36), 0.9),
        Surface((0.5, 0.5, 0.5), 0.9),
    ),
)
