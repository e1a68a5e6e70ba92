"""Which way a group goes where it may go either way: as often the one as the other.

Drawn for each group by itself, 31 of 79 groups in depth had the nearer thing higher in the picture
and 48 had it lower, so that the height alone told the relation in 59 % of their scenes. So the ways
take turns, and a set of any size is balanced to within a few groups. A group keeps its way however
many of its views are rejected.

Lower edges that go either way are not enough: where the nearer thing ends higher, other things are
rejected, and if those differ less in height, how high the middles and upper edges lie still tells.
So both groups of a turn also differ in height by about as much, with the same thing the higher one.

What is nearer also looks a little larger, so that sizes would tell. Individuals of a kind differ by
more than that: in one group of a turn both pictures show the same ones, in the other the nearer
thing is by so much the smaller individual that it looks as much smaller as it else looks larger.
"""

import random
from typing import NamedTuple

from ablate2tune.scenes.layouts.scene_sampling import relation_of
from ablate2tune.scenes.scenes_config import ScenesConfig
from ablate2tune.scenes.vocabulary import CONTRAST
from ablate2tune.seeding import seed_for

EDGE = (0.04, 0.14)
"""Distance between the lower edges of the two (fraction of what the frame shows); beyond, a nearer
one that ends higher hides so little that hundreds of views are rejected."""
DIFFERENCES = ((0.0, 0.07), (0.07, 0.155), (0.155, 0.235), (0.235, 0.5))
"""Difference of the heights, as a fraction of what the frame shows; each as often, as it comes."""
SMALL = 0.9
"""Where the nearer one ends lower, things that may stand on something are shown so often, so that
neither kinds nor sizes tell which way the edges go."""


class Way(NamedTuple):
    """A group's way."""

    turn: int
    """Shared by one group of each relation."""
    lower: bool
    """The nearer of two in depth ends lower in the picture: in one of the two groups that show a
    relation and its contrast in a turn."""
    larger: bool
    """Of two in depth, a thing looks larger where it is the nearer one, in one of the two groups of
    a turn; else as much smaller."""
    right: bool
    """Where the relation that comes first in the vocabulary is shown, its first thing is to the
    right of the second, if only by a little: in two turns of four."""


def way_of(config: ScenesConfig, index: int) -> Way:
    """The way of a group of natural scenes."""
    relation, known = relation_of(config, index), list(CONTRAST)
    turn = index // len([r for r in known if r in config.relations])
    first = known.index(relation) <= known.index(CONTRAST[relation])
    return Way(turn, first == (turn % 2 == 0), first == (turn // 4 % 2 == 0), turn // 2 % 2 == 0)


class InDepth(NamedTuple):
    """What a group in depth keeps however often it is drawn; but for the way, its turn's."""

    edge: float
    """How much lower the nearer one ends in the picture, of what the frame shows; negative where it
    ends higher."""
    small: bool
    """Both are things that may stand on something."""
    first_higher: bool
    """The first thing is the higher of the two, wherever it stands."""
    difference: tuple[float, float]
    """Least and most that the heights differ by, of what the frame shows."""


def in_depth_of(seed: int, way: Way) -> InDepth:
    """What is drawn for both groups of a turn at once."""
    rng = random.Random(seed_for(seed, "natural edge", way.turn))
    edge, small = rng.uniform(*EDGE), rng.random() < SMALL
    return InDepth(
        edge if way.lower else -edge, small or not way.lower, rng.random() < 0.5,
        rng.choice(DIFFERENCES),
    )  # fmt: skip
