import errno
import os
import subprocess
import sys

import pytest

from ablate2tune.disk.folder_lock import lock, short_lock
from ablate2tune.errors import UserError

HOLD = """
import pathlib, sys
from ablate2tune.disk.folder_lock import lock
with lock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of `tmp_path` until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        stream.close()


def test_one_process_at_a_time(tmp_path, holder):
    with (
        pytest.raises(UserError, match=f"process {holder.pid} on .* is rendering into it"),
        lock(tmp_path, "is rendering into it"),
    ):
        pass
    holder.stdin.close()
    assert holder.wait(30) == 0
    with lock(tmp_path):
        assert (tmp_path / ".lock").read_text().startswith(f"{os.getpid()} on ")
    assert not (tmp_path / ".lock").exists()


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path, holder):
    holder.kill()
    holder.wait()
    assert (tmp_path / ".lock").exists()
    with lock(tmp_path):
        assert (tmp_path / ".lock").read_text().startswith(f"{os.getpid()} on ")


def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    told = []
    with lock(tmp_path, on_message=told.append):
        pass
    assert len(told) == 1 and "file system without locks" in told[0]
    with short_lock(tmp_path / "short"):
        pass


def test_an_error_inside_releases_it(tmp_path):
    with pytest.raises(ValueError, match="inside"), lock(tmp_path):
        raise ValueError("inside")
    with lock(tmp_path):
        pass


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"), lock(tmp_path / "file" / "below"):
        pass
