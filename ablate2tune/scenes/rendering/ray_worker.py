"""What a process of a Ray cluster does: it keeps one Blender process and renders groups with it.

The group is rendered into a scratch folder of the node, and its files go back as bytes.
"""

import fcntl
import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NamedTuple

from ablate2tune.errors import UserError
from ablate2tune.scenes.rendering.resume import FOLDERS, PICTURES
from ablate2tune.scenes.rendering.worker_pool import JobError, WorkerPool, usable_cores

FILES = ("models", "maps")
"""Keys of a job that bring files of the user's own, by name."""
NO_GPUS = "CUDA_VISIBLE_DEVICES"
"""Ray sets it to nothing for a task that asks for no GPUs; then Cycles would find none."""


class Setup(NamedTuple):
    """What a node needs to start Blender: the arguments of `WorkerPool`, the assets' content."""

    blender: str | None
    timeout: float
    memory: float | None
    assets: tuple[tuple[str, bytes], ...] | None
    """Name and content of each file of the user's asset folder."""
    device: str = "cpu"
    view_transforms: tuple[str, ...] = ("Standard",)


class Outcome(NamedTuple):
    """What became of a job."""

    node: str
    """The host's name."""
    answer: dict[str, Any] | None = None
    """The Blender process's answer; None if there was none."""
    files: tuple[tuple[str, bytes], ...] = ()
    """Names below the data set's folder and contents, in the order in which to write them."""
    made_with: dict[str, str] | None = None
    replaced: int = 0
    """Processes replaced for their size since the last outcome."""
    failure: tuple[str, str, str] | None = None
    """What failed, the reason and the log, for a job that cannot be done."""
    error: str | None = None
    """Why this node can do no job at all."""


class _Held:
    """The process's Blender and what it was started with."""

    setup: Setup | None = None
    pool: WorkerPool | None = None
    core: IO[str] | None = None
    """The lock on the core that Blender is pinned to."""
    assets: Path | None = None
    """Where the user's asset files lie on this node."""


def render(setup: Setup, job: dict[str, Any]) -> Outcome:
    """Serve one job; Blender stays for the next one."""
    node = socket.gethostname()
    try:
        pool = _pool(setup)
        before = pool.replaced
        with tempfile.TemporaryDirectory(prefix="ablate2tune-") as scratch:
            for kind in FOLDERS:
                (Path(scratch) / kind).mkdir()
            found = with_paths(job, lambda name: str((_Held.assets or Path()) / name))
            answer = pool.ask({**found, "folder": scratch})
            files = _files(Path(scratch), job) if answer["status"] == "accepted" else ()
    except JobError as error:
        return Outcome(node, failure=(error.what, error.reason, error.log))
    except (UserError, OSError) as error:
        return Outcome(node, error=str(error))
    return Outcome(node, answer, files, pool.made_with, pool.replaced - before)


def with_paths(job: dict[str, Any], place: Callable[[str], str]) -> dict[str, Any]:
    """A job whose files of the user's own lie at `place` of their paths.

    They travel by their names in the folder of assets, which lies elsewhere on each node.
    """
    moved = {
        key: {name: {**made, "path": place(made["path"])} for name, made in job[key].items()}
        for key in FILES
        if key in job
    }
    return {**job, **moved}


def _files(folder: Path, job: dict[str, Any]) -> tuple[tuple[str, bytes], ...]:
    """The files of a group, each scene's sidecar after its pictures: it marks a whole scene."""
    names = []
    for twin in job["group"]["twins"]:
        scene_id = twin["record"]["scene_id"]
        names += [f"{kind}/{scene_id}.png" for kind in PICTURES]
        names.append(f"sidecars/{scene_id}.json")
    return tuple((name, (folder / name).read_bytes()) for name in names)


def _pool(setup: Setup) -> WorkerPool:
    if _Held.pool is None or _Held.setup != setup:
        if _Held.pool is not None:
            _Held.pool.__exit__()
            _Held.pool = None
        if setup.device != "cpu" and not os.environ.get(NO_GPUS):
            os.environ.pop(NO_GPUS, None)
        _Held.assets = _unpacked(setup)
        core = _own_core()
        _Held.pool = WorkerPool(
            setup.blender,
            1,
            setup.timeout,
            _Held.assets,
            setup.memory,
            setup.device,
            setup.view_transforms,
            [core],
            usable_cores().index(core) if core in usable_cores() else os.getpid(),
        )
        _Held.setup = setup
    return _Held.pool


def _unpacked(setup: Setup) -> Path | None:
    if setup.assets is None:
        return None
    folder = Path(tempfile.mkdtemp(prefix="ablate2tune-assets-"))
    for name, content in setup.assets:
        (folder / name).write_bytes(content)
    return folder


def _own_core() -> int | None:
    """A core of this node that no other such process has taken; None if none is left.

    Ray counts cores but does not name them, and Blender processes that share one slow each other.
    """
    if _Held.core is not None:
        _Held.core.close()
    for core in usable_cores():
        path = Path(tempfile.gettempdir()) / f"ablate2tune-core-{core}.lock"
        try:
            held = open(path, "w", encoding="ascii")  # noqa: SIM115 (open as long as it is held)
        except OSError:  # another user's
            continue
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            held.close()
            continue
        _Held.core = held
        return core
    return None
