"""Where groups are rendered: Blender processes of this machine, or of a Ray cluster."""

from concurrent.futures import Future
from typing import Any, Protocol, Self

from ablate2tune.scenes.rendering.worker_pool import WorkerPool
from ablate2tune.scenes.scenes_config import ScenesConfig

WORKER_MEMORY = 4.0
"""Gigabytes that a Blender process may hold before it is replaced; one at rest holds half of one,
and grows by kilobytes a scene."""
TIMEOUT = 60.0
"""Seconds that a contrast group of small pictures may take ..."""
TIMEOUT_PER_MILLION = 10.0
"""... and those that each million samples of its pictures may add: three times what `render-data`
takes for them on one core (docs/scenes.md, "How fast")."""


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


def usual_timeout(config: ScenesConfig) -> float:
    """Seconds that a contrast group may take where the recipe does not say."""
    samples = 2 * config.size**2 * config.samples * (1 if config.denoise else 4)
    return TIMEOUT + TIMEOUT_PER_MILLION * samples / 1e6


def open_engine(config: ScenesConfig) -> Engine:
    """The engine that a recipe names.

    Raises:
        UserError: Blender or Ray is missing, or the cluster cannot be reached.
    """
    settings = (
        config.blender,
        config.workers,
        config.timeout or usual_timeout(config),
        config.assets,
        WORKER_MEMORY,
        config.device,
        config.view_transforms,
    )
    if config.engine == "ray":
        from ablate2tune.scenes.rendering.ray_pool import RayPool

        return RayPool(*settings)
    return WorkerPool(*settings)
