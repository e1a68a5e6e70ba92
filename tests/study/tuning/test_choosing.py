"""Matched sets and equal parameters, counted by hand on a made-up model."""

from collections import Counter

import pytest
from torch import nn

from ablate2tune.components import discover
from ablate2tune.models import FluxDenoiser
from ablate2tune.study.study_config import StudyArm
from ablate2tune.study.tuning.choosing import Candidates, Choice, choose
from ablate2tune.train.train_config import TrainConfig


@pytest.fixture
def candidates(tiny_flux: FluxDenoiser) -> Candidates:
    linears = {n: m for n, m in tiny_flux.model.named_modules() if isinstance(m, nn.Linear)}
    sizes = {name: (m.in_features, m.out_features) for name, m in linears.items()}
    return Candidates(discover(tiny_flux.model), sizes)


def block_of(name: str) -> str:
    return ".".join(name.split(".")[:2])


LIKE = [
    "transformer_blocks.0.attn.to_q", "transformer_blocks.0.attn.to_k",
    "single_transformer_blocks.1.proj_out",
]  # fmt: skip


def test_matched_by_depth(candidates: Candidates) -> None:
    for draw in range(5):
        drawn = candidates.matched(LIKE, "depth", seed=1, draw=draw)
        assert Counter(map(block_of, drawn)) == {
            "transformer_blocks.0": 2,
            "single_transformer_blocks.1": 1,
        }
    assert drawn == candidates.matched(LIKE, "depth", seed=1, draw=4)
    assert any(candidates.matched(LIKE, "depth", 1, d) != drawn for d in range(4))


def test_matched_by_type(candidates: Candidates) -> None:
    drawn = [candidates.matched(LIKE, "type", seed=1, draw=draw) for draw in range(5)]
    for names in drawn:
        assert sorted(name.split(".", 2)[2] for name in names) == [
            "attn.to_k",
            "attn.to_q",
            "proj_out",
        ]
        assert sum(name.startswith("single") for name in names) == 1
    assert len({tuple(names) for names in drawn}) > 1


def test_equal_parameters_are_as_near_as_a_rank_allows(candidates: Candidates) -> None:
    like = Choice(LIKE, 8)
    arm = StudyArm(targets="all", equal_parameters=True)
    found = choose(arm, TrainConfig(rank=8), 0, candidates, 1, None, like)
    assert found.modules == candidates.names
    wanted = candidates.parameters(like)
    gaps = {
        rank: abs(candidates.parameters(Choice(candidates.names, rank)) - wanted)
        for rank in range(1, 9)
    }
    assert found.rank == min(gaps, key=lambda rank: gaps[rank])


def test_parameters_are_those_of_a_lora(candidates: Candidates, tiny_flux: FluxDenoiser) -> None:
    sizes = [tiny_flux.model.get_submodule(name) for name in LIKE]
    assert candidates.parameters(Choice(LIKE, 3)) == sum(
        3 * (m.in_features + m.out_features)  # pyright: ignore
        for m in sizes
    )


def test_random_among_named_modules(candidates: Candidates) -> None:
    arm = StudyArm(targets="random", modules=["transformer_blocks.1"])
    for draw in range(3):
        names = choose(arm, TrainConfig(count=3), draw, candidates, 1, None, None).modules
        assert len(names) == 3 and {block_of(name) for name in names} == {"transformer_blocks.1"}
    everything = choose(arm, TrainConfig(count=999), 0, candidates, 1, None, None).modules
    assert everything == [n for n in candidates.names if block_of(n) == "transformer_blocks.1"]
