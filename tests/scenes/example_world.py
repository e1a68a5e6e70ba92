"""A world of another package: a yard of red earth."""

from .worlds import SKIES, Surface, World

WORLD = World(
    "yard", "outdoors", ("in a yard",), grounds=(Surface((0.35, 0.16, 0.1), 0.95),), skies=SKIES
)
