"""Finding Blender and talking to one Blender process."""

import contextlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from ablate2tune.errors import UserError

PACKAGE = Path(__file__).resolve().parents[2]
ANSWER = "@@a2t "
ENVIRONMENT = "ABLATE2TUNE_BLENDER"
ASSETS = "ABLATE2TUNE_ASSETS"
"""Environment variable that names further folders of asset files to the worker script."""
SETTINGS = "ABLATE2TUNE_WORKER"
"""Environment variable with the worker script's settings (see blender_scenes/worker.py)."""
OLDEST = (3, 4)
START_TIMEOUT = 120.0
GPU_START_TIMEOUT = 900.0
"""Seconds for a start on a GPU, whose kernels may have to be compiled the first time."""
VERSION_TIMEOUT = 60.0
LOG_TAIL = 600
"""Bytes of a log that go into a message ..."""
LOG_KEPT = 20_000
"""... and into a failed scene's log file."""
HOW_TO_GET = (
    "x86-64 and Apple silicon: `pip install bpy==5.0.1` (Python 3.11) or `pip install 'bpy>=5.1'` "
    "(Python 3.13); Linux aarch64 (DGX Spark) has no bpy wheel: `sudo apt install blender`, then "
    f"set scenes.blender or {ENVIRONMENT} if it is not on the PATH"
)


def worker_script(package: Path = PACKAGE) -> Path:
    """The script that runs inside Blender: in the package (a wheel) or beside it (a checkout).

    Raises:
        UserError: it is in neither place.
    """
    for folder in (package, package.parent):
        script = folder / "blender_scenes" / "worker.py"
        if script.exists():
            return script
    raise UserError(
        "blender_scenes/worker.py is missing", where=str(package), mend="install ablate2tune again"
    )


def find_blender(executable: str | None) -> list[str]:
    """The command that runs the worker script.

    Looks at the configured executable, the environment variable ABLATE2TUNE_BLENDER, the bpy
    wheel of this Python, and `blender` on the PATH, in this order.

    Raises:
        UserError: there is none, or the one found does not exist, is no Blender or is too old.
    """
    for named, where in (
        (executable, "scenes.blender"),
        (os.environ.get(ENVIRONMENT), f"environment variable {ENVIRONMENT}"),
    ):
        if named:
            # As it was typed otherwise: a Path makes of "./blender" a name to look for on PATH.
            found = shutil.which(str(Path(named).expanduser()) if named[0] == "~" else named)
            if found is None:
                raise UserError(f"no executable {named!r}", where=where, mend=HOW_TO_GET)
            return _executable_command(found)
    if importlib.util.find_spec("bpy") is not None:
        return [sys.executable, str(worker_script())]
    found = shutil.which("blender")
    if found is None:
        raise UserError("Blender was not found", mend=HOW_TO_GET)
    return _executable_command(found)


def _executable_command(path: str) -> list[str]:
    version = _version(path)
    if version < OLDEST:
        needed, held = (".".join(map(str, v)) for v in (OLDEST, version))
        raise UserError(
            f"Blender {held} is too old", where=path, mend=f"{needed} or later is needed"
        )
    # The exit code must come first: Blender otherwise ends with 0 after an exception.
    options = ["--background", "--factory-startup", "--python-exit-code", "3"]
    return [path, *options, "--python", str(worker_script())]


def _version(path: str) -> tuple[int, int]:
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=VERSION_TIMEOUT
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"cannot be run ({error})", where=path, mend=HOW_TO_GET) from error
    found = re.search(r"^Blender (\d+)\.(\d+)", done.stdout, re.MULTILINE)
    if found is None:
        raise UserError("does not answer like Blender", where=path, mend=HOW_TO_GET)
    return int(found[1]), int(found[2])


class WorkerDiedError(Exception):
    """The Blender process ended or was stopped for taking too long.

    `reason` is short ("it ended with exit code 7"), `log` the end of what the process printed.
    """

    def __init__(self, reason: str, log: str = ""):
        self.reason, self.log = reason, log
        tail = log.encode()[-LOG_TAIL:].decode("utf-8", "replace").strip()
        words = " | ".join(tail.splitlines()[-6:])
        super().__init__(f"{reason}; its log ends: {words}" if words else reason)


class Worker:
    """One Blender process that answers jobs, one at a time.

    `made_with` tells Blender's version, device and denoiser once the process is ready. With `core`,
    the process stays on that CPU core: Blender's helper threads otherwise spin on the others, which
    doubled the CPU time of a 64-pixel frame (0.20 s against 0.09 s, Blender 5.0.1, 2 cores).

    Raises:
        UserError: this Blender lacks what the settings ask for (a GPU, a view transform).
        WorkerDiedError: the process ended, or was not ready within `start_timeout` seconds.
    """

    def __init__(
        self,
        command: list[str],
        core: int | None = None,
        environment: dict[str, str] | None = None,
        start_timeout: float | None = None,
    ):
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed in close)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            encoding="utf-8",
            env={**os.environ, **(environment or {})},
            start_new_session=True,  # Ctrl-C is for the parent, which then stops its workers
        )
        try:
            _pin(self._process.pid, core)
            ready = self._read(start_timeout or START_TIMEOUT)
            if ready["status"] == "unable":
                raise UserError(ready["reason"], where=ready["where"], mend=ready["mend"])
        except BaseException:
            self.close()
            raise
        self.made_with: dict[str, str] = {k: v for k, v in ready.items() if k != "status"}

    def ask(self, job: dict[str, Any], timeout: float) -> dict[str, Any]:
        """Send a job and wait for its answer (timeout in seconds).

        Raises:
            WorkerDiedError: the process ended, or did not answer in time and was stopped.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise WorkerDiedError("it had ended", self.log()) from error
        return self._read(timeout)

    def close(self) -> None:
        """Stop the process now; a scene in hand is left unwritten."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            try:
                if stream is not None:
                    stream.close()
            except OSError:  # unsent bytes for a process that is gone
                continue

    def _read(self, timeout: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        late = threading.Event()

        def stop() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(min(timeout, threading.TIMEOUT_MAX), stop)
        timer.start()
        try:
            for line in self._process.stdout:
                if line.startswith(ANSWER) and line.endswith("\n"):
                    return json.loads(line.removeprefix(ANSWER))
        finally:
            timer.cancel()
        self._process.wait()
        if late.is_set():
            raise WorkerDiedError(f"no answer within {timeout:g} s", self.log())
        raise WorkerDiedError(f"it ended with exit code {self._process.returncode}", self.log())

    def log(self) -> str:
        """The end of what the process printed."""
        size = os.fstat(self._log.fileno()).st_size
        # pread: the process writes at the same file offset
        end = os.pread(self._log.fileno(), LOG_KEPT, max(0, size - LOG_KEPT))
        return end.decode("utf-8", "replace").strip()

    def memory(self) -> int:
        """Resident memory of the process in bytes; 0 if the system does not tell."""
        try:
            pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE")
        except OSError:  # no /proc: macOS, BSD
            pass
        command = ["ps", "-o", "rss=", "-p", str(self._process.pid)]
        try:
            told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        except OSError:
            return 0
        return 1024 * int(told.strip() or 0)


def _pin(pid: int, core: int | None) -> None:
    if core is not None:
        with contextlib.suppress(ProcessLookupError):  # it is gone; reading its answer tells why
            os.sched_setaffinity(pid, {core})
