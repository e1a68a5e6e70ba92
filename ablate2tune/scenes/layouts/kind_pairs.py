"""Which kinds are drawn together for a relation, so that every kind is named about as often.

Few kinds can be put into a box or hang in the air, and those would be in every other caption if
pairs were drawn evenly. So the pairs of each relation are weighted by their two kinds' weights,
which are fitted until the kinds are as even as the relations allow.
"""

import random
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from ablate2tune.scenes.shapes.shapes import Shape

LOOKS = 8
"""Draws of looks by which two kinds are found to suit a relation or not."""
ROUNDS = 200
PULL = 0.5
"""How far a round moves the weights; below 1 it does not overshoot."""


class KindPairs(NamedTuple):
    """Ordered pairs of kinds and the chance of each."""

    pairs: list[tuple[str, str]]
    chances: list[float]

    def draw(self, rng: random.Random) -> tuple[str, str]:
        """One pair."""
        return rng.choices(self.pairs, self.chances)[0]


def possible_pairs(
    kinds: list[str],
    look: Callable[[random.Random, str], Shape],
    suits: Callable[[list[Shape]], bool],
) -> list[tuple[str, str]]:
    """Pairs of different kinds that suit a relation in some of their looks."""
    rng = random.Random(0)
    found = []
    for first in kinds:
        for second in kinds:
            if first != second and any(
                suits([look(rng, first), look(rng, second)]) for _ in range(LOOKS)
            ):
                found.append((first, second))
    return found


def evenly_drawn(
    possible: Mapping[str, list[tuple[str, str]]], shares: Mapping[str, float]
) -> dict[str, KindPairs]:
    """Chances of the pairs of each relation, by which kinds are named as evenly as can be.

    Args:
        possible: the pairs by relation; relations without any are left out.
        shares: how often each relation is drawn.
    """
    known = {name: pairs for name, pairs in possible.items() if pairs}
    if not known:
        return {}
    kinds = sorted({kind for pairs in known.values() for pair in pairs for kind in pair})
    place = {kind: k for k, kind in enumerate(kinds)}
    held = {name: np.array([[place[kind] for kind in pair] for pair in pairs])
            for name, pairs in known.items()}  # fmt: skip
    weights = np.ones(len(kinds))
    chances: dict[str, np.ndarray] = {}
    for _ in range(ROUNDS):
        named = np.zeros(len(kinds))
        for name, pairs in held.items():
            made = weights[pairs].prod(axis=1)
            chances[name] = made / made.sum()
            for k in (0, 1):
                np.add.at(named, pairs[:, k], shares[name] * chances[name])
        weights *= (named.mean() / named) ** PULL
        weights /= weights.max()
        weights = weights.clip(1e-6)
    return {name: KindPairs(known[name], chances[name].tolist()) for name in known}
