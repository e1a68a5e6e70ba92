"""A study under `accelerate launch`: cells spread over processes, the result is the same."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# As in tests/train/test_train_processes.py.
LAUNCH = [
    *("-m", "accelerate.commands.launch", "--multi_gpu", "--main_process_port", "0"),
    *("--num_processes", "2", "--num_machines", "1", "--num_cpu_threads_per_process", "1"),
    *("--mixed_precision", "no", "--dynamo_backend", "no"),
]


@pytest.mark.slow
def test_two_processes_make_what_one_makes(study_recipe: Path) -> None:
    found, said = [], []
    same_threads = os.environ | {"OMP_NUM_THREADS": "1"}  # their number changes the rounding
    for name, launcher in (("one", []), ("two", LAUNCH)):
        runs = study_recipe.parent / name
        command = [sys.executable, *launcher, "-m", "ablate2tune", "study", str(study_recipe)]
        done = subprocess.run(
            [*command, f"runs={runs}"],
            cwd=ROOT,
            env=same_threads,
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        said.append(done.stdout)
        found.append((runs / "job" / "study" / "study.json").read_bytes())
    assert found[0] == found[1]
    assert "on 2 processes" in said[1] and said[1].count("price:") == 1
