"""The processes of a launcher, each of which runs whole cells alone."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

LAUNCHERS = (
    "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
    "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "PMI_SIZE", "PMI_RANK",
)  # fmt: skip
"""By which accelerate and torch know that a process is one of several."""


@dataclass(frozen=True)
class Place:
    """This process among those of its launcher."""

    index: int
    count: int


@contextmanager
def alone() -> Iterator[Place]:
    """Within this context what runs here takes part with no other process; says which this is.

    Each process takes the GPU of its local rank. Nothing may have joined the processes before:
    accelerate keeps what it once found.
    """
    held = {name: os.environ.pop(name) for name in LAUNCHERS if name in os.environ}
    try:
        _take_gpu(int(held.get("LOCAL_RANK", "0")))
        yield Place(int(held.get("RANK", "0")), int(held.get("WORLD_SIZE", "1")))
    finally:
        os.environ.update(held)


def _take_gpu(local_rank: int) -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank % torch.cuda.device_count())
