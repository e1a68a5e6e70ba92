from collections import Counter
from random import Random

import pytest

from ablate2tune.scenes.layouts.kind_pairs import evenly_drawn


def test_kinds_that_suit_few_relations_are_drawn_more_often_where_they_suit():
    """Only c and d float; without weights they would be named in 3/4 of all mentions."""
    every = [(a, b) for a in "abcd" for b in "abcd" if a != b]
    found = evenly_drawn({"above": [("c", "d"), ("d", "c")], "left of": every},
                         {"above": 1.0, "left of": 1.0})  # fmt: skip
    named = Counter()
    for pairs in found.values():
        for pair, chance in zip(pairs.pairs, pairs.chances, strict=True):
            for kind in pair:
                named[kind] += chance / 4
    assert sum(named.values()) == pytest.approx(1.0)
    assert {kind: round(share, 2) for kind, share in named.items()} == dict.fromkeys("abcd", 0.25)
    rng = Random(1)
    drawn = Counter(found["left of"].draw(rng) for _ in range(400))
    assert drawn["a", "b"] + drawn["b", "a"] > 350


def test_relations_without_any_pair_are_left_out():
    assert evenly_drawn({"inside": []}, {"inside": 1.0}) == {}
