"""Finding Blender, and what the pool does when the process at the other end misbehaves."""

import importlib.util
import os
import sys
import time
from pathlib import Path

import pytest

from ablate2tune.errors import UserError
from ablate2tune.scenes.rendering import blender, worker_pool
from ablate2tune.scenes.rendering.blender import (
    Worker,
    WorkerDiedError,
    find_blender,
    worker_script,
)
from ablate2tune.scenes.rendering.worker_pool import JobError, WorkerPool


def executable(path, answer):
    path.write_text(f"#!/bin/sh\necho '{answer}'\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def no_blender(monkeypatch, tmp_path):
    """A machine without bpy, without the variable, and with an empty PATH."""
    monkeypatch.delenv("ABLATE2TUNE_BLENDER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    return monkeypatch


def test_order_of_the_search(no_blender, tmp_path):
    by_config = executable(tmp_path / "configured", "Blender 4.2.1 LTS")
    by_variable = executable(tmp_path / "variable", "Blender 3.4.1")
    on_path = executable(tmp_path / "blender", "Blender 5.0.1")
    assert find_blender(None)[0] == on_path
    no_blender.setattr(importlib.util, "find_spec", lambda name: name == "bpy" or None)
    assert find_blender(None) == [sys.executable, str(worker_script())]
    no_blender.setenv("ABLATE2TUNE_BLENDER", by_variable)
    assert find_blender(None)[0] == by_variable
    assert find_blender(by_config)[0] == by_config
    no_blender.setenv("HOME", str(tmp_path))
    assert find_blender("~/configured")[0] == by_config


def test_the_exit_code_comes_before_the_script(no_blender, tmp_path):
    command = find_blender(executable(tmp_path / "b", "Blender 3.4.1"))
    assert command.index("--python-exit-code") < command.index("--python")
    assert command[-1] == str(worker_script())


def test_no_blender_at_all(no_blender):
    with pytest.raises(
        UserError, match=r"Blender was not found; .*pip install bpy==5.0.1"
    ) as error:
        find_blender(None)
    assert "aarch64" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "answer, message",
    [
        ("Blender 3.3.21", r"Blender 3.3 is too old; 3.4 or later is needed"),
        ("Blender 2.93.0", r"Blender 2.93 is too old"),
        ("hello", "does not answer like Blender"),
    ],
)
def test_what_is_refused(no_blender, tmp_path, answer, message):
    with pytest.raises(UserError, match=message):
        find_blender(executable(tmp_path / "b", answer))


def test_named_but_absent(no_blender):
    with pytest.raises(UserError, match=r"scenes\.blender: no executable '/nowhere/blender'"):
        find_blender("/nowhere/blender")
    no_blender.setenv("ABLATE2TUNE_BLENDER", "/nowhere/else")
    with pytest.raises(UserError, match="ABLATE2TUNE_BLENDER: no executable '/nowhere/else'"):
        find_blender(None)


@pytest.mark.parametrize("place", ["site-packages/ablate2tune", "checkout"])
def test_the_script_in_a_wheel_and_in_a_checkout(tmp_path, place):
    script = tmp_path / place / "blender_scenes" / "worker.py"
    script.parent.mkdir(parents=True)
    script.write_text("")
    package = tmp_path / ("checkout/ablate2tune" if place == "checkout" else place)
    assert worker_script(package) == script


def test_the_script_is_missing(tmp_path):
    with pytest.raises(UserError, match=r"worker.py is missing; install ablate2tune again"):
        worker_script(tmp_path / "ablate2tune")


SPEAKER = """
import json, os, sys, time
def answer(row): print("chatter\\n@@a2t " + json.dumps(row), flush=True)
answer({"status": "ready", "blender": "9.9"})
for line in sys.stdin:
    job = json.loads(line)
    marks = os.listdir(job["folder"])
    if len(marks) < job["crashes"]:
        open(os.path.join(job["folder"], str(os.getpid())), "w").close()
        print("about to go", file=sys.stderr, flush=True)
        time.sleep(60) if job["hang"] else os._exit(7)
    answer(job["answer"])
"""


@pytest.fixture
def speaker(tmp_path):
    """The command of a process that speaks the worker's protocol and dies when told to."""
    script = tmp_path / "speaker.py"
    script.write_text(SPEAKER)
    return [sys.executable, str(script)]


@pytest.fixture
def job(tmp_path):
    (tmp_path / "set").mkdir()
    return {
        "folder": str(tmp_path / "set"),
        "group": {"group_id": "g000004"},
        "crashes": 0,
        "hang": False,
        "answer": {"status": "accepted"},
    }


@pytest.fixture
def pool(speaker, monkeypatch):
    monkeypatch.setattr(worker_pool, "find_blender", lambda named: speaker)
    with WorkerPool(None, 1, timeout=2.0) as pool:
        yield pool


def test_an_answer_among_chatter(speaker, job):
    worker = Worker(speaker)
    assert worker.made_with == {"blender": "9.9"}
    assert worker.ask(job, 10) == {"status": "accepted"}
    worker.close()


def test_a_dead_worker_tells_its_last_words(speaker, job):
    worker = Worker(speaker)
    with pytest.raises(WorkerDiedError, match="exit code 7; its log ends: about to go"):
        worker.ask({**job, "crashes": 1}, 10)
    worker.close()


def test_a_worker_ends_when_its_input_does(speaker):
    worker = Worker(speaker)
    worker._process.stdin.close()
    assert worker._process.wait(10) == 0
    worker.close()


@pytest.mark.parametrize("hang", [False, True])
def test_a_crash_or_a_hang_is_tried_again(pool, job, hang):
    began = time.monotonic()
    assert pool.ask({**job, "crashes": 1, "hang": hang}) == {"status": "accepted"}
    assert (time.monotonic() - began > 2.0) == hang


def test_three_crashes_are_enough(pool, job):
    message = r"set/g000004: Blender died: it ended with exit code 7; its log ends: about to go"
    with pytest.raises(JobError, match=message) as raised:
        pool.ask({**job, "crashes": 3})
    assert raised.value.reason == "Blender died: it ended with exit code 7"
    assert raised.value.log == "about to go"
    assert len(list(Path(job["folder"]).iterdir())) == 3
    assert pool.ask(job) == {"status": "accepted"}


@pytest.mark.parametrize(
    "answer, message",
    [
        ({"status": "failed", "reason": "ZeroDivisionError"}, "Blender failed: ZeroDivisionError"),
        ({"status": "unwritable", "reason": "No space left on device"}, "cannot write: No space"),
    ],
)
def test_errors_from_inside(pool, job, answer, message):
    with pytest.raises(UserError, match=message):
        pool.ask({**job, "answer": answer})


def test_a_worker_that_has_grown_is_replaced(speaker, monkeypatch, job):
    monkeypatch.setattr(worker_pool, "find_blender", lambda named: speaker)
    with WorkerPool(None, 1, timeout=5.0, memory=1.0) as pool:
        pool.ask(job)
        (first,) = pool._alive
        assert 2**20 < first.memory() < 2**30  # a Python process: megabytes
        pool.ask(job)
        assert pool._alive == {first} and pool.replaced == 0
        pool._memory = 2**20
        pool.ask(job)
        assert pool._alive == set() and pool.replaced == 1
        assert pool.ask(job) == {"status": "accepted"}
    with pytest.raises(ProcessLookupError):
        os.kill(first._process.pid, 0)


def test_a_blender_that_never_starts(monkeypatch, job):
    command = [sys.executable, "-c", "raise SystemExit('libXi.so.6 is missing')"]
    monkeypatch.setattr(worker_pool, "find_blender", lambda named: command)
    message = r"Blender does not start: .*libXi\.so\.6"
    with (
        WorkerPool(None, 1, timeout=2.0) as pool,
        pytest.raises(UserError, match=message) as raised,
    ):
        pool.ask(job)
    assert not isinstance(raised.value, JobError)


def test_a_worker_is_stopped_at_the_end(speaker, monkeypatch, job):
    monkeypatch.setattr(worker_pool, "find_blender", lambda named: speaker)
    with WorkerPool(None, 1, timeout=5.0) as pool:
        pool.ask(job)
        (worker,) = pool._alive
    with pytest.raises(ProcessLookupError):
        os.kill(worker._process.pid, 0)


def test_a_pipe_that_is_gone(speaker, job):
    worker = Worker(speaker)
    worker._process.kill()
    worker._process.wait()
    with pytest.raises(WorkerDiedError):
        worker.ask(job, 10)
    worker.close()


def test_start_failure_leaves_no_process(monkeypatch):
    monkeypatch.setattr(blender, "START_TIMEOUT", 0.5)
    with pytest.raises(WorkerDiedError, match=r"no answer within 0.5 s"):
        Worker([sys.executable, "-c", "import time; time.sleep(60)"])
