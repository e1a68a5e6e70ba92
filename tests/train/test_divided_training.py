"""A model in pieces on two processes: the same weights and files as with all of it on one."""

import subprocess
from pathlib import Path

import pytest
from safetensors.torch import load_file
from test_train_processes import LAUNCH, WEIGHTS, rows_of, start

from ablate2tune.train.train_config import TrainConfig

FSDP = ["--use_fsdp" if word == "--multi_gpu" else word for word in LAUNCH]
FSDP[FSDP.index("--use_fsdp") + 1 : 0] = ["--fsdp_version", "2"]

pytestmark = pytest.mark.slow


def ended(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr[-3000:]
    assert "view tensor" not in done.stderr  # whose hooks FSDP2 may lose
    return done.stdout


@pytest.mark.parametrize(
    "taught",
    [
        {"batch_size": 3, "checkpointing": "off"},
        # Each share has passes of its own: retained pictures, and micro batches of one.
        {"batch_size": 3, "micro_batch": 1, "contrast": 4.0, "high_noise": 0.6, "retention": 0.5},
    ],
)
def test_a_divided_model_is_trained_as_a_whole_one(
    tiny_flux_folder: Path, scenes_folder: Path, config: TrainConfig, tmp_path: Path, taught: dict
):
    settings = config.model_copy(update=taught).model_dump_json()
    one, two = tmp_path / "one", tmp_path / "two"
    ended(start([], tiny_flux_folder, scenes_folder, one, settings))
    told = ended(start(FSDP, tiny_flux_folder, scenes_folder, two, settings))
    assert told.count("one of 2") == 2
    assert told.count("divided: each of 2 processes holds") == 1
    single, double = load_file(one / WEIGHTS), load_file(two / WEIGHTS)
    assert single.keys() == double.keys()
    for name, weight in single.items():
        # As in test_train_processes: AdamW divides by the gradient's own size.
        assert (weight - double[name]).abs().max().item() < (3e-5 if len(taught) > 2 else 1e-6)
    for row, other in zip(rows_of(one), rows_of(two), strict=True):
        if row["step"]:
            assert row["loss"] == pytest.approx(other["loss"], rel=1e-5)
            assert row["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-4)
        if "validation" in row:
            sigmas = row["validation"]["by_sigma"]
            assert sigmas == pytest.approx(other["validation"]["by_sigma"], rel=1e-5)
    # The main process alone draws the samples, with pieces of the other.
    grids = sorted(path.name for path in (one / "samples").iterdir())
    assert sorted(path.name for path in (two / "samples").iterdir()) == grids and grids
    first = "samples/step-000000.png"
    assert (one / first).read_bytes() == (two / first).read_bytes()


@pytest.mark.parametrize("divided_first", [True, False])
def test_a_killed_run_goes_on_with_the_model_in_pieces_or_whole(
    tiny_flux_folder: Path,
    scenes_folder: Path,
    config: TrainConfig,
    tmp_path: Path,
    divided_first: bool,
):
    settings = config.model_dump_json()
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    ended(start([], tiny_flux_folder, scenes_folder, whole, settings))
    first, then = (FSDP, []) if divided_first else ([], FSDP)
    assert start(first, tiny_flux_folder, scenes_folder, killed, settings, 3).returncode != 0
    assert not (killed / WEIGHTS).exists()
    ended(start(then, tiny_flux_folder, scenes_folder, killed, settings))
    again, weights = load_file(killed / WEIGHTS), load_file(whole / WEIGHTS)
    assert again.keys() == weights.keys()
    for name, weight in weights.items():
        assert (weight - again[name]).abs().max().item() < 1e-6, name
    assert [row["step"] for row in rows_of(killed)] == [row["step"] for row in rows_of(whole)]
