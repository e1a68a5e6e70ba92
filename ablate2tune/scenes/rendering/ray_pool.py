"""Groups rendered on a Ray cluster: same interface and same files as `worker_pool`.

A job is a Ray task of one CPU. Ray starts it where a core is free and starts it again elsewhere
when its process or its node dies; scenes are drawn and files written here.
"""

import importlib
import logging
import os
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ablate2tune.errors import UserError
from ablate2tune.files import write_bytes
from ablate2tune.scenes.rendering.ray_worker import Outcome, Setup, render, with_paths
from ablate2tune.scenes.rendering.worker_pool import RETRIES, JobError

WHERE = "scenes.engine = ray"
CONNECT_SECONDS = 10.0
"""How long a cluster's address may take to answer."""


class RayPool:
    """A Ray cluster's Blender processes; use it in a `with` block.

    Every node needs ablate2tune of the same version, and Blender.

    Args:
        blender: a Blender executable on every node, or None to look for one there.
        workers: jobs at a time, or None for one per CPU that the cluster has now.
        timeout: seconds a job may take before its Blender process is stopped.
        assets: a folder of further assets; its files are sent to the nodes.
        memory: gigabytes a Blender process may hold after a job; a larger one is replaced.
        device: "cpu", "gpu", or "auto" for a GPU where Cycles finds one on a node.
        view_transforms: those that jobs name.

    Raises:
        UserError: Ray is not installed, or the cluster cannot be reached.
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
    ):
        self.replaced = 0
        """Processes that were replaced because they had grown too large."""
        self._ray = _import_ray()
        self._ours = not self._ray.is_initialized()
        if self._ours:
            _connect(self._ray)
        files = sorted(p for p in assets.iterdir() if p.is_file()) if assets else None
        content = tuple((p.name, p.read_bytes()) for p in files) if files is not None else None
        self._names = {str(p.resolve()): p.name for p in files or ()}
        self._setup = self._ray.put(
            Setup(blender, timeout, memory, content, device, tuple(view_transforms))
        )
        self._task = self._ray.remote(num_cpus=1, max_retries=RETRIES)(render)
        self._running: set[Any] = set()
        self._made_with: dict[str, str] | None = None
        self._lock = threading.Lock()
        self._stopped = False
        count = workers or max(1, int(self._ray.cluster_resources().get("CPU", 0)))
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="ray")

    def __enter__(self) -> "RayPool":
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._stopped = True
            for task in self._running:
                self._ray.cancel(task, force=True)
        self._threads.shutdown(wait=True, cancel_futures=True)
        if self._ours:
            self._ray.shutdown()

    def submit(self, function: Any, *args: Any) -> "Future[Any]":
        """Run `function(*args)` on a thread of this process; it may call `ask`."""
        return self._threads.submit(function, *args)

    def ask(self, job: dict[str, Any]) -> dict[str, Any]:
        """One job's answer from the cluster, its files written into `job["folder"]`.

        Raises:
            JobError: Ray processes died on this job again and again, or it failed in Blender.
            UserError: a node has no Blender or another ablate2tune than the others, or the files
                cannot be written.
        """
        outcome = self._outcome(job)
        if outcome.error:
            raise UserError(outcome.error, where=f"node {outcome.node} of the Ray cluster")
        if outcome.failure:
            what, reason, log = outcome.failure
            raise JobError(job, what, reason, f"node {outcome.node}\n{log}")
        assert outcome.answer is not None and outcome.made_with is not None
        self._count(outcome.node, outcome.made_with, outcome.replaced)
        for name, content in outcome.files:
            write_bytes(Path(job["folder"]) / name, content)
        return outcome.answer

    def _outcome(self, job: dict[str, Any]) -> Outcome:
        errors = self._ray.exceptions
        with self._lock:
            if self._stopped:
                raise JobError(job, "the run was stopped", "the run was stopped", "")
            task = self._task.remote(self._setup, with_paths(job, self._names.__getitem__))
            self._running.add(task)
        try:
            return self._ray.get(task)
        except errors.RayTaskError as error:
            last = str(error).strip().splitlines()[-1]
            raise UserError(
                f"a node cannot run the worker: {last}",
                where=WHERE,
                mend="install the same ablate2tune on every node",
            ) from error
        except errors.RayError as error:
            reason = f"a process of the Ray cluster died ({type(error).__name__})"
            raise JobError(job, reason, reason, str(error)) from error
        finally:
            with self._lock:
                self._running.discard(task)

    def _count(self, node: str, made_with: dict[str, str], replaced: int) -> None:
        """Add to the count of replaced processes, and see that all nodes render alike.

        They may render on different devices: each scene's sidecar tells on which.
        """
        with self._lock:
            self.replaced += replaced
            self._made_with = self._made_with or made_with
            other = [
                k for k in made_with if k != "device" and made_with[k] != self._made_with.get(k)
            ]
        if other:
            key = other[0]
            raise UserError(
                f"node {node} renders with another {key} than the first: {made_with[key]}, not "
                f"{self._made_with.get(key)}",
                where=WHERE,
                mend="install the same ablate2tune and Blender on every node",
            )


def _import_ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise UserError(
            "Ray is not installed", where=WHERE, mend="pip install 'ablate2tune[ray]'"
        ) from error


def check_reachable(address: str) -> None:
    """Connect to a cluster's address (RAY_ADDRESS) once, since Ray itself tries for minutes.

    Args:
        address: `host:port` or `ray://host:port`; any other ("auto", "local", "") is left to Ray.

    Raises:
        UserError: nothing answers there.
    """
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _unreachable(f"{address!r} is no address ({error})") from error
    if not (host and port):
        return
    try:
        socket.create_connection((host, port), CONNECT_SECONDS).close()
    except OSError as error:
        raise _unreachable(f"{address}: {error.strerror or error}") from error


def _connect(ray: Any) -> None:
    check_reachable(os.environ.get("RAY_ADDRESS", ""))
    try:
        ray.init(logging_level=logging.ERROR, log_to_driver=False, include_dashboard=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise _unreachable(" ".join(str(error).split())) from error


def _unreachable(reason: str) -> UserError:
    return UserError(
        f"the cluster cannot be reached: {reason}",
        where=WHERE,
        mend="look at RAY_ADDRESS, or unset it to start a cluster on this machine",
    )
