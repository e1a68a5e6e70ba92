"""A run of Weights & Biases: by what it is found, where it goes, and how it is begun."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ablate2tune.errors import reason

INIT_TIMEOUT, FINISH_TIMEOUT = 30.0, 300.0
"""Seconds to wait for the server before the run is kept offline, and for the upload at the end."""
TAG = 64
"""Characters of a tag, at most."""
Wanted = Literal["auto", "offline", "off"]
Mode = Literal["online", "offline", "off"]


class Labels(NamedTuple):
    """By what the run is found."""

    project: str
    name: str
    group: str
    tags: Sequence[str]
    config: dict[str, Any]
    """The resolved recipe, and what each adapter was trained on."""


class TrackResult(NamedTuple):
    """How the run was tracked."""

    mode: str
    """online, offline, off, or failed."""
    line: str | None
    """The one line to print: where the run is, how to sync it, or what went wrong."""
    folder: Path | None = None
    """The run's folder, for `wandb sync`."""


def tracking_mode(wanted: Wanted) -> Mode:
    """How a run is tracked: as the recipe and `WANDB_MODE` want it, online only when logged in.

    The API key is looked for in the environment, W&B's settings and netrc, and never asked for.
    """
    if wanted == "off":
        return "off"
    by_environment = os.environ.get("WANDB_MODE", "")
    if by_environment == "disabled":
        return "off"
    if wanted == "offline" or by_environment in ("dryrun", "offline"):
        return "offline"
    return "online" if logged_in() else "offline"


def logged_in() -> bool:
    """Whether W&B would find credentials for its server, without asking for them."""
    import wandb
    from wandb.errors import AuthenticationError
    from wandb.sdk.lib import wbauth

    try:
        found = wbauth.authenticate_session(
            host=wandb.setup().settings.base_url,
            source="ablate2tune",
            prompt=False,
            update_session=False,
        )
    except AuthenticationError:  # a malformed key is no login
        return False
    return found is not None


def start_run(folder: Path, labels: Labels, mode: Mode, kind: str, **more: Any) -> tuple[Any, str]:
    """A run, and what to say if the server could not be reached and it is offline instead.

    Args:
        folder: W&B's own files go below it.
        labels: by what it is found.
        mode: online or offline.
        kind: W&B's job type.
        more: of `wandb.init`, where the run is online.
    """
    import wandb
    from wandb.errors import CommError

    settings = wandb.Settings(
        silent=True, console="off", init_timeout=INIT_TIMEOUT, finish_timeout=FINISH_TIMEOUT
    )

    def start(mode: Mode, **more: Any) -> Any:
        return wandb.init(
            **labels._replace(tags=[tag[:TAG] for tag in labels.tags])._asdict(),
            job_type=kind,
            dir=str(folder),
            mode=mode,  # pyright: ignore[reportArgumentType]
            settings=settings,
            **more,
        )

    if mode == "offline":
        return start("offline"), ""
    try:
        return start("online", **more), ""
    except CommError as error:  # no network, a refused key, ...
        return start("offline"), f"warning: W&B could not be reached ({reason(error)}). "


def finish_run(run: Any, trouble: str = "", exit_code: int = 0) -> TrackResult:
    """End a run; `trouble` is what `start_run` said."""
    online, folder = run.settings.mode == "online", Path(run.dir).parent
    url = run.url if online else None  # asked for offline, W&B prints a warning of its own
    run.finish(exit_code)
    if url:
        return TrackResult("online", f"W&B: {url}", folder)
    return TrackResult("offline", f"{trouble}W&B, offline: wandb sync {folder}", folder)
