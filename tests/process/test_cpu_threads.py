"""As many threads as cores are free, kept where a run goes on, and the user's own word first."""

import os
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ablate2tune.files import read_json
from ablate2tune.process import cpu_threads
from ablate2tune.process.cpu_threads import SAID, free_cores, quota, settle_threads
from ablate2tune.progress import Terminal
from ablate2tune.recipe import load_recipe
from ablate2tune.stage import Job, Stage
from ablate2tune.stage_running import run_stage

Shares = namedtuple("Shares", "user idle iowait")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A machine of eight cores, of which `free` are; PyTorch's number is put back."""
    before, told = torch.get_num_threads(), SimpleNamespace(free=8.0, looks=[])

    def look(seconds: float) -> float | None:
        told.looks.append(seconds)
        return told.free

    for name in SAID:
        monkeypatch.delenv(name, raising=False)
    for cached in (cpu_threads._usual, cpu_threads.free_cores_now):
        cached.cache_clear()
    monkeypatch.setattr(cpu_threads, "free_cores", look)
    monkeypatch.setattr(cpu_threads, "quota", lambda: None)
    torch.set_num_threads(8)
    yield told
    torch.set_num_threads(before)
    for cached in (cpu_threads._usual, cpu_threads.free_cores_now):
        cached.cache_clear()


@pytest.mark.parametrize(
    ("free", "count"), [(8.0, 8), (7.6, 8), (7.4, 7), (1.5, 2), (1.4, 1), (0.0, 1), (None, 8)]
)
def test_as_many_threads_as_cores_are_free(machine, free: float | None, count: int) -> None:
    machine.free = free
    settled = settle_threads()
    assert settled.taken == torch.get_num_threads() == count
    assert (settled.line is None) == (count == 8)
    assert count == 8 or f"threads: {count} of 8, as {free:.1f} cores are free" in settled.line
    # Cores that look busy are looked at for longer, and in a process but once.
    assert len(machine.looks) == (1 if count == 8 else 2)
    settle_threads()
    assert len(machine.looks) == (1 if count == 8 else 2)


def test_what_was_begun_goes_on_with_as_many(machine) -> None:
    machine.free = 0.0
    assert settle_threads(held=5, begun=True) == (5, None)
    assert torch.get_num_threads() == 5
    # What was begun before numbers were written down had PyTorch's own.
    assert settle_threads(held=None, begun=True) == (8, None)
    assert torch.get_num_threads() == 8
    assert settle_threads(held=5, begun=False).taken == 1, "nothing is there to go on with"


@pytest.mark.parametrize("name", SAID)
def test_what_the_user_says_is_taken(machine, monkeypatch, name: str) -> None:
    machine.free = 0.0
    monkeypatch.setenv(name, "3")
    assert settle_threads() == (8, None), "as PyTorch understood it"
    assert settle_threads(held=8, begun=True) == (8, None)
    other = settle_threads(held=5, begun=True)
    assert other.taken == 8 and other.line is not None
    assert "begun with 5 threads and gone on with 8" in other.line
    assert machine.looks == []


def test_free_cores_are_those_that_the_process_may_run_on(monkeypatch) -> None:
    shares = [Shares(90.0, 10.0, 0.0), Shares(20.0, 50.0, 30.0), Shares(0.0, 100.0, 0.0)]
    monkeypatch.setattr(cpu_threads.psutil, "cpu_times_percent", lambda *_, **__: shares)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    assert free_cores(0.1) == pytest.approx(0.1 + 0.8 + 1.0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    assert free_cores(0.1) == pytest.approx(0.1 + 0.8)
    # macOS has no such call; a sandbox may tell nothing at all.
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert free_cores(0.1) == pytest.approx(1.9)
    shares[:] = [Shares(0.0, 0.0, 0.0)] * 3
    assert free_cores(0.1) is None


def test_a_core_that_is_busy_is_not_free() -> None:
    """A process that spins on a core of its own, seen by a look at that core alone."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("cores cannot be chosen here")
    code = (
        "import os, sys; from ablate2tune.process.cpu_threads import free_cores\n"
        "os.sched_setaffinity(0, {int(sys.argv[1])}); print(free_cores(0.5))"
    )
    core = min(os.sched_getaffinity(0))
    busy = subprocess.Popen(
        [sys.executable, "-c", f"import os; os.sched_setaffinity(0, {{{core}}})\nwhile 1: pass"]
    )
    try:
        time.sleep(0.3)
        told = subprocess.check_output([sys.executable, "-c", code, str(core)], text=True)
    finally:
        busy.kill()
        busy.wait()
    assert float(told) < 0.3


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "150000 100000\n"}, 1.5),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/cpu.max": "400000 100000\n",
                "sys/fs/cgroup/a/b/cpu.max": "200000 100000\n",
            },
            2.0,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/x\n2:cpu,cpuacct:/x\n",
                "sys/fs/cgroup/cpu/x/cpu.cfs_quota_us": "300000\n",
                "sys/fs/cgroup/cpu/x/cpu.cfs_period_us": "100000\n",
            },
            3.0,
        ),
        (
            {
                "proc/self/cgroup": "2:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
        ({}, None),
    ],
)
def test_the_limit_of_a_container(tmp_path: Path, files: dict[str, str], cores: float | None):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert quota(tmp_path) == cores


def test_a_stage_keeps_its_number_of_threads(machine, tmp_path: Path, capsys) -> None:
    """Killed beside other work and gone on with on a free machine, and the other way round."""
    seen: list[int] = []

    def work(job: Job) -> None:
        seen.append(torch.get_num_threads())
        (job.folder / f"row{len(seen)}").write_text("")
        if len(seen) < 3:
            raise KeyboardInterrupt

    stage = Stage(name="add", inputs=lambda _: {}, work=work)
    recipe_file = tmp_path / "recipe.yaml"
    recipe_file.write_text("name: x\nmodel: {path: none, device: cpu}\n")
    recipe = load_recipe(recipe_file, [f"runs={tmp_path}"])
    for free in (1.0, 8.0):
        machine.free = free
        cpu_threads.free_cores_now.cache_clear()
        with pytest.raises(KeyboardInterrupt):
            run_stage(stage, recipe, Terminal())
    run_stage(stage, recipe, Terminal())
    assert seen == [1, 1, 1]
    assert capsys.readouterr().out.count("threads: 1 of 8, as 1.0 cores are free") == 1
    assert read_json(tmp_path / "x" / "manifest.json")["stages"]["add"]["threads"] == 1
