"""What tests of whole runs on the tiny FLUX share."""

from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file

from ablate2tune import files
from ablate2tune.models import FluxDenoiser
from ablate2tune.train import TrainSummary
from ablate2tune.train.train_config import TrainConfig

TARGETS = ["transformer_blocks.1.attn.to_q", "single_transformer_blocks.0.proj_out"]
WEIGHTS = "adapter/pytorch_lora_weights.safetensors"


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / WEIGHTS)


def rows_of(folder: Path) -> list[dict]:
    """The log without what differs from run to run."""
    rows = files.read_jsonl(folder / "log.jsonl")
    return [{k: v for k, v in row.items() if k not in ("seconds", "memory_gb")} for row in rows]


def assert_same_run(folder: Path, other: Path) -> None:
    assert (folder / WEIGHTS).read_bytes() == (other / WEIGHTS).read_bytes()
    assert rows_of(folder) == rows_of(other)
    for grid in (other / "samples").iterdir():
        assert (folder / "samples" / grid.name).read_bytes() == grid.read_bytes()


class KilledError(Exception):
    pass


class Whole(NamedTuple):
    """An uninterrupted run, and what it told."""

    denoiser: FluxDenoiser
    folder: Path
    summary: TrainSummary
    config: TrainConfig
    lines: list[str]
    notes: list[tuple[int, int, str]]
    steps: list[tuple[int, str | None]]
    """What came with each step: its number, and the name of its samples."""
