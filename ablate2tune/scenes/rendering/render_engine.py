"""Where groups are rendered: Blender processes of this machine, or of a Ray cluster."""

from concurrent.futures import Future
from typing import Any, Protocol, Self

from ablate2tune.scenes.rendering.worker_pool import WorkerPool
from ablate2tune.scenes.scenes_config import ScenesConfig


class Engine(Protocol):
    """Blender processes that serve jobs side by side; used in a `with` block."""

    replaced: int
    """Processes that were replaced because they had grown too large."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def submit(self, function: Any, *args: Any) -> "Future[Any]":
        """Run `function(*args)` on a thread of this process; it may call `ask`."""
        ...

    def ask(self, job: dict[str, Any]) -> dict[str, Any]:
        """A Blender process's answer; the job's files then lie whole in `job["folder"]`.

        Raises:
            JobError: the job cannot be done, though others may.
            UserError: no job can be done, or the files cannot be written.
        """
        ...


def open_engine(config: ScenesConfig) -> Engine:
    """The engine that a recipe names.

    Raises:
        UserError: Blender or Ray is missing, or the cluster cannot be reached.
    """
    settings = (
        config.blender,
        config.workers,
        config.timeout,
        config.assets,
        config.worker_memory,
        config.device,
        config.view_transforms,
    )
    if config.engine == "ray":
        from ablate2tune.scenes.rendering.ray_pool import RayPool

        return RayPool(*settings)
    return WorkerPool(*settings)
