"""Training in processes of its own: under `accelerate launch`, and killed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

import ablate2tune
from ablate2tune import files
from ablate2tune.train.train_config import TrainConfig

SCRIPT = Path(__file__).with_name("run_training.py")
ROOT = Path(ablate2tune.__file__).parents[1]
# `accelerate launch --cpu --num_processes 2` starts one process unless mpirun is there;
# --multi_gpu takes torchrun, and the model's own device (cpu) chooses gloo.
LAUNCH = [
    *("-m", "accelerate.commands.launch", "--multi_gpu", "--main_process_port", "0"),
    *("--num_processes", "2", "--num_machines", "1", "--num_cpu_threads_per_process", "1"),
    *("--mixed_precision", "no", "--dynamo_backend", "no"),
]
WEIGHTS = "adapter/pytorch_lora_weights.safetensors"

pytestmark = pytest.mark.slow


def start(launcher: list[str], *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *launcher, str(SCRIPT), *map(str, arguments)]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=600, env=environment, check=False
    )


def rows_of(folder: Path) -> list[dict]:
    rows = files.read_jsonl(folder / "log.jsonl")
    return [{k: v for k, v in row.items() if k not in ("seconds", "memory_gb")} for row in rows]


@pytest.mark.parametrize("taught", [{}, {"contrast": 4.0, "high_noise": 0.6, "retention": 0.5}])
def test_two_processes_train_what_one_trains(
    tiny_flux_folder: Path, scenes_folder: Path, config: TrainConfig, tmp_path: Path, taught: dict
):
    # Three examples per step do not divide by two: the processes' shares differ.
    settings = config.model_copy(update={"batch_size": 3, **taught}).model_dump_json()
    one, two = tmp_path / "one", tmp_path / "two"
    for launcher, folder, processes in (([], one, 1), (LAUNCH, two, 2)):
        done = start(launcher, tiny_flux_folder, scenes_folder, folder, settings)
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.count(f"one of {processes}") == processes
    single, double = load_file(one / WEIGHTS), load_file(two / WEIGHTS)
    assert single.keys() == double.keys()
    for name, weight in single.items():
        # AdamW divides by the gradient's own size, so rounding shows where one is about zero;
        # what a model is taught has more of those, as both captions' losses nearly cancel.
        assert (weight - double[name]).abs().max().item() < (3e-5 if taught else 1e-6), name
    for row, other in zip(rows_of(one), rows_of(two), strict=True):
        if row["step"]:
            assert row["loss"] == pytest.approx(other["loss"], rel=1e-5)
        if "validation" in row:
            sigmas = row["validation"]["by_sigma"]
            assert sigmas == pytest.approx(other["validation"]["by_sigma"], rel=1e-5)
            for figure in ("margin", "retention") if taught else ():
                found = other["validation"][figure]
                assert row["validation"][figure] == pytest.approx(found, abs=1e-6)


def test_a_killed_run_ends_the_same_bit_for_bit(
    tiny_flux_folder: Path, scenes_folder: Path, config: TrainConfig, tmp_path: Path
):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    settings = config.model_dump_json()
    assert start([], tiny_flux_folder, scenes_folder, whole, settings).returncode == 0
    for step in (0, 3, 5):
        dead = start([], tiny_flux_folder, scenes_folder, killed, settings, step)
        assert dead.returncode == -9
    assert start([], tiny_flux_folder, scenes_folder, killed, settings).returncode == 0
    assert (killed / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()
    assert rows_of(killed) == rows_of(whole)


def test_thirty_kills_at_random_moments_change_nothing(
    tiny_flux_folder: Path, scenes_folder: Path, config: TrainConfig, tmp_path: Path
):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    often = {"steps": 80, "checkpoint_every": 1, "validate_every": 5, "sample_every": 10}
    settings = config.model_copy(update=often).model_dump_json()
    assert start([], tiny_flux_folder, scenes_folder, whole, settings).returncode == 0
    done = start([], tiny_flux_folder, scenes_folder, killed, settings, "kills=30")
    assert done.returncode == 0, done.stderr[-2000:]
    told = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in told] == ["killed"] * 30 + ["ended"] and told[-1][1] == "0"
    # They came at many places: before the first step of a process, and after different ones.
    assert len({line[1] for line in told[:-1] if len(line) > 1}) > 10
    assert any(len(line) == 1 for line in told[:-1])
    assert (killed / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()
    assert rows_of(killed) == rows_of(whole)
    for grid in (whole / "samples").iterdir():
        assert (killed / "samples" / grid.name).read_bytes() == grid.read_bytes()
