"""Everything random is a function of (seed, purpose, index), never of order or process count."""

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def seed_for(seed: int, purpose: str, *index: int) -> int:
    """A 63-bit seed derived from (seed, purpose, index) by SHA-256.

    The same arguments give the same number on every machine and in every process.
    """
    key = ":".join([str(seed), purpose, *map(str, index)])
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 1


def numpy_generator(seed: int, purpose: str, *index: int) -> np.random.Generator:
    """A fresh numpy generator for (seed, purpose, index)."""
    return np.random.default_rng(seed_for(seed, purpose, *index))


def torch_generator(seed: int, purpose: str, *index: int) -> "torch.Generator":
    """A fresh CPU torch generator for (seed, purpose, index).

    Noise is drawn on the CPU and moved, so that every device starts from the same numbers.
    """
    import torch

    return torch.Generator().manual_seed(seed_for(seed, purpose, *index))
