"""Seeds are functions of (seed, purpose, index) alone."""

import hashlib

import torch

from ablate2tune import seeding


def test_seed_is_sha256_of_its_parts() -> None:
    digest = hashlib.sha256(b"3:noise:1:2").digest()
    expected = int.from_bytes(digest[:8], "big") // 2
    assert seeding.seed_for(3, "noise", 1, 2) == expected


def test_parts_do_not_run_together() -> None:
    seeds = {
        seeding.seed_for(1, "a", 1, 2),
        seeding.seed_for(1, "a", 12),
        seeding.seed_for(1, "a1", 2),
        seeding.seed_for(11, "a", 2),
    }
    assert len(seeds) == 4


def test_generators_start_afresh() -> None:
    first = torch.randn(3, generator=seeding.torch_generator(0, "x"))
    assert torch.equal(first, torch.randn(3, generator=seeding.torch_generator(0, "x")))
    assert not torch.equal(first, torch.randn(3, generator=seeding.torch_generator(0, "y")))
