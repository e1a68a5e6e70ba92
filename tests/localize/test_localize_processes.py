"""The stage in processes of its own: under `accelerate launch`, and killed."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_localize import favour  # type: ignore[import-not-found]

import ablate2tune
from ablate2tune import files
from ablate2tune.localize.localize_config import LocalizeConfig
from ablate2tune.models import load_denoiser

SCRIPT = Path(__file__).with_name("run_localize.py")
ROOT = Path(ablate2tune.__file__).parents[1]
# As in the training tests: the model's own device (cpu) chooses gloo.
LAUNCH = [
    *("-m", "accelerate.commands.launch", "--multi_gpu", "--main_process_port", "0"),
    *("--num_processes", "2", "--num_machines", "1", "--num_cpu_threads_per_process", "1"),
    *("--mixed_precision", "no", "--dynamo_backend", "no"),
]
CONFIG = LocalizeConfig(
    groups=6,
    calibration_groups=3,
    sigmas=[0.9, 0.6],
    top_blocks=1,
    batch_size=18,
    bootstrap=100,
    screening="on",
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def arguments(tiny_flux_config, make_contrasts) -> tuple[str, str]:
    """The model, and records that give it a skill, as JSON."""
    records = favour(load_denoiser(tiny_flux_config), make_contrasts(9))
    rows = [dataclasses.asdict(record) | {"payload": str(record.payload)} for record in records]
    return tiny_flux_config.path, json.dumps(rows)


def start(launcher: list[str], model: str, records: str, folder: Path, *rest: str):
    command = [sys.executable, *launcher, str(SCRIPT), model, records, str(folder)]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [*command, CONFIG.model_dump_json(), *rest],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )


def rows_of(folder: Path, name: str) -> list[dict]:
    return [
        {key: value for key, value in row.items() if key != "seconds"}
        for row in files.read_jsonl(folder / name)
    ]


def test_two_processes_give_what_one_gives_and_a_killed_one_resumes(arguments, tmp_path: Path):
    one, two, killed = (tmp_path / name for name in ("one", "two", "killed"))
    done = start([], *arguments, one)
    assert done.returncode == 0, done.stderr[-2000:]
    done = start(LAUNCH, *arguments, two)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("one of 2") == 2
    assert sorted(p.name for p in two.iterdir()) == sorted(p.name for p in one.iterdir())
    assert start([], *arguments, killed, "4").returncode == -9
    assert not (killed / "ranking.json").exists()
    # What one process left, two go on from.
    done = start(LAUNCH, *arguments, killed)
    assert done.returncode == 0, done.stderr[-2000:]
    for folder in (two, killed):
        assert rows_of(folder, "results.jsonl") == rows_of(one, "results.jsonl")
        for name in ("ranking.json", "ranking.csv"):
            assert (folder / name).read_bytes() == (one / name).read_bytes()
