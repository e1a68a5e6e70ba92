"""Several Blender processes that render groups side by side."""

import json
import os
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ablate2tune.errors import UserError
from ablate2tune.scenes.assets.asset_folders import asset_folders
from ablate2tune.scenes.rendering.blender import (
    ASSETS,
    GPU_START_TIMEOUT,
    SETTINGS,
    Worker,
    WorkerDiedError,
    find_blender,
)

RETRIES = 2
"""Fresh workers tried for a job whose worker died, before the render gives up."""


class JobError(UserError):
    """One job cannot be done, though others may: its workers died, or it failed inside Blender.

    `reason` is the same for failures of one kind, `log` the end of the worker's output.
    """

    def __init__(self, job: dict[str, Any], what: str, reason: str, log: str):
        self.reason, self.log = reason, log
        super().__init__(what, where=_name(job))


class WorkerPool:
    """Blender processes, each serving one job at a time; use it in a `with` block.

    Args:
        blender: a Blender executable, or None to look for one.
        workers: number of processes, or None for one per CPU core.
        timeout: seconds a job may take before its process is stopped.
        assets: a folder of further asset files for the processes.
        memory: gigabytes a process may hold after a job; a larger one is replaced.
        device: "cpu", "gpu", or "auto" for a GPU where Cycles finds one.
        view_transforms: those that jobs name.
        cores: the CPU cores that the processes are pinned to in turn (None: not pinned); by default
            all that this process may use.
        slot: number of the first process; processes take GPUs in turn by their numbers.
    """

    def __init__(
        self,
        blender: str | None,
        workers: int | None,
        timeout: float,
        assets: Path | None = None,
        memory: float | None = None,
        device: str = "cpu",
        view_transforms: Sequence[str] = ("Standard",),
        cores: list[int | None] | None = None,
        slot: int = 0,
    ):
        self._memory = memory * 2**30 if memory else None
        self.replaced = 0
        """Processes that were replaced because they had grown too large."""
        self.made_with: dict[str, str] = {}
        """Blender's version, device and denoiser, and the scripts' hash, of the latest process."""
        self._command = find_blender(blender)
        self._timeout = timeout
        further = os.pathsep.join(str(path.resolve()) for path in asset_folders(assets))
        self._environment = {ASSETS: further} if further else {}
        self._settings = {"device": device, "view_transforms": list(view_transforms)}
        self._start_timeout = None if device == "cpu" else GPU_START_TIMEOUT
        self._cores = cores or usable_cores()
        self._first_slot = slot
        count = workers or len(self._cores)
        self._idle: queue.SimpleQueue[tuple[int, Worker | None]] = queue.SimpleQueue()
        for number in range(count):
            self._idle.put((number, None))  # started by its first job
        self._alive: set[Worker] = set()
        self._lock = threading.Lock()
        self._stopped = False
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="blender")

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._stopped = True
            for worker in self._alive:
                worker.close()
        self._threads.shutdown(wait=True, cancel_futures=True)

    def submit(self, function: Any, *args: Any) -> "Future[Any]":
        """Run `function(*args)` on a thread of the pool; it may call `ask`."""
        return self._threads.submit(function, *args)

    def ask(self, job: dict[str, Any]) -> dict[str, Any]:
        """One job's answer from whichever worker is idle; a dead worker is replaced.

        Raises:
            JobError: workers died on this job again and again, or it failed inside Blender.
            UserError: Blender does not start, lacks what the settings ask for or cannot use a file
                of the user's own, or the job's files cannot be written.
        """
        number, worker = self._idle.get()
        deaths, log = 0, ""
        try:
            while True:
                try:
                    worker = worker or self._start(number)
                    answer = worker.ask(job, self._timeout)
                    break
                except WorkerDiedError as death:
                    started = worker is not None
                    self._discard(worker)
                    worker = None
                    deaths += 1
                    if deaths > RETRIES or self._stopped:
                        if not started:
                            raise UserError(f"Blender does not start: {death}") from death
                        reason = f"Blender died: {death.reason}"
                        raise JobError(job, f"Blender died: {death}", reason, death.log) from death
            if answer["status"] == "failed":
                log = worker.log()
            if self._memory and worker.memory() > self._memory:
                self._discard(worker)
                worker = None
                self.replaced += 1
        finally:
            self._idle.put((number, worker))
        if answer["status"] == "unable":
            raise UserError(answer["reason"], where=answer["where"], mend=answer["mend"])
        if answer["status"] == "unwritable":
            raise UserError(
                f"cannot write: {answer['reason']}",
                where=job["folder"],
                mend="free the disk or choose another folder",
            )
        if answer["status"] == "failed":
            reason = f"Blender failed: {answer['reason']}"
            raise JobError(job, reason, reason, log)
        return answer

    def _start(self, number: int) -> Worker:
        settings = json.dumps({**self._settings, "slot": self._first_slot + number})
        worker = Worker(
            self._command,
            self._cores[number % len(self._cores)],
            {**self._environment, SETTINGS: settings},
            self._start_timeout,
        )
        self.made_with = worker.made_with
        with self._lock:
            self._alive.add(worker)
            if self._stopped:
                worker.close()
        return worker

    def _discard(self, worker: Worker | None) -> None:
        if worker is None:
            return
        with self._lock:
            self._alive.discard(worker)
        worker.close()


def usable_cores() -> list[int | None]:
    """The CPU cores that this process may use; None for each where the system does not tell."""
    if hasattr(os, "sched_getaffinity"):
        return [*sorted(os.sched_getaffinity(0))]
    return [None] * (os.cpu_count() or 1)


def _name(job: dict[str, Any]) -> str:
    name = job["group"]["group_id"] if "group" in job else Path(job["path"]).name
    return f"{Path(job['folder']).name}/{name}"
