"""`accelerate launch --cpu --num_processes 2` starts one process; that is told."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ablate2tune.launched import missing_processes

CODE = "from ablate2tune.launched import missing_processes; print(missing_processes())"


@pytest.mark.parametrize(
    "words, count",
    [
        (["--cpu", "--num_processes", "2"], "2"),
        (["--cpu", "--num_processes=3"], "3"),
        (["--num-processes", "4", "--cpu"], "4"),
        (["--cpu", "--num_processes", "1"], None),
        (["--cpu"], None),
    ],
)
def test_what_was_asked_for(words: list[str], count: str | None, monkeypatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    told = missing_processes(["python", "accelerate", "launch", *words, "-m", "ablate2tune"])
    assert (told is None) == (count is None)
    assert count is None or f"--multi_gpu --num_processes {count} ..." in str(told)


def test_where_all_were_started_nothing_is_said(monkeypatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert missing_processes(["accelerate", "launch", "--num_processes", "2"]) is None


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the launcher's command")
def test_as_a_user_types_it(tmp_path: Path) -> None:
    script = tmp_path / "look.py"
    script.write_text(CODE)
    launch = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", str(script)]
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, *launch],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    (line,) = done.stdout.splitlines()
    assert line.startswith("warning: `accelerate launch` was asked for 2 processes and started one")
