"""Weights & Biases, built from the local result files alone; it can never fail the job."""

import netrc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ablate2tune import runs
from ablate2tune.compare.compare_config import CompareConfig
from ablate2tune.errors import reason

INIT_TIMEOUT = 30.0
"""Seconds to wait for the server before the run is kept offline."""
FINISH_TIMEOUT = 300.0
"""Seconds to wait for the upload at the end."""
COLUMNS = ("prompt", "relation", "seed", "before", "after")
VERDICT_COLUMNS = (
    "right before", "right after", "objects before", "objects after", "read before", "read after",
)  # fmt: skip
"""Further columns, where a judge read the pictures."""


@dataclass(frozen=True)
class TrackResult:
    """How the run was tracked."""

    mode: str
    """online, offline, off, or failed."""
    line: str | None
    """The one line to print: where the run is, how to sync it, or what went wrong."""
    folder: Path | None = None
    """The run's folder, for `wandb sync`."""


def track(folder: Path, config: CompareConfig, run_config: dict[str, Any]) -> TrackResult:
    """Hand a finished comparison to W&B: grid, a table row per prompt and seed, scores as summary.

    Online when an API key is found (environment, W&B settings or netrc), offline otherwise; the
    key is never asked for. `WANDB_MODE` is honoured. Nothing is raised: a failure becomes the
    result's line.

    Args:
        folder: the compare stage's folder, with verdicts.jsonl, grid.png, images and, where a
            judge read them, scores.json; W&B's own files go below it.
        config: project and mode.
        run_config: the resolved recipe, shown as the run's configuration.
    """
    if config.wandb == "off":
        return TrackResult("off", None)
    try:
        mode = "offline" if config.wandb == "offline" else _mode()
        if mode == "off":
            return TrackResult("off", None)
        with _staged_below(folder):
            return _log(folder, config.wandb_project, run_config, mode)
    except Exception as error:  # whatever W&B raises, the results are already on the disk
        return TrackResult(
            "failed", f"warning: W&B tracking failed ({reason(error)}); results are in {folder}"
        )


def logged_in() -> bool:
    """Whether W&B would find credentials for its server, without asking for them."""
    import wandb
    from wandb.errors import AuthenticationError

    settings = wandb.setup().settings
    try:
        from wandb.sdk.lib import wbauth

        found = wbauth.authenticate_session(
            host=settings.base_url, source="ablate2tune", prompt=False, update_session=False
        )
        return found is not None
    except (ImportError, TypeError):  # a W&B from before this way of asking
        return bool(os.environ.get("WANDB_API_KEY") or settings.api_key or _in_netrc(settings))
    except AuthenticationError:  # a malformed key is no login
        return False


def _in_netrc(settings: Any) -> bool:
    file = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    try:
        return bool(netrc.netrc(file).authenticators(urlsplit(settings.base_url).netloc))
    except (OSError, netrc.NetrcParseError):
        return False


def _mode() -> str:
    wanted = os.environ.get("WANDB_MODE", "")
    if wanted in ("disabled", "dryrun", "offline"):
        return "off" if wanted == "disabled" else "offline"
    return "online" if logged_in() else "offline"


@contextmanager
def _staged_below(folder: Path) -> Iterator[None]:
    """Keep the copies that `wandb sync` uploads in the run's folder.

    W&B copies a table's pictures to the user's data folder and notes these paths in the run: an
    offline run would depend on files outside its own folder.
    """
    if os.environ.get("WANDB_DATA_DIR"):
        yield
        return
    os.environ["WANDB_DATA_DIR"] = str((folder / "wandb" / "data").resolve())
    try:
        yield
    finally:
        del os.environ["WANDB_DATA_DIR"]


def _log(folder: Path, project: str, run_config: dict[str, Any], mode: str) -> TrackResult:
    import wandb

    rows = runs.read_jsonl(folder / "verdicts.jsonl")
    judged = not rows or rows[0]["verdict"] is not None
    scores = runs.read_json(folder / "scores.json") if judged else {}
    run, trouble = _start(folder, project, run_config, mode)
    table = wandb.Table(columns=[*COLUMNS, *(VERDICT_COLUMNS if judged else ())])
    for before, after in _paired(rows):
        images = [wandb.Image(str(folder / row["image"])) for row in (before, after)]
        verdicts = [row["verdict"] for row in (before, after)] if judged else []
        table.add_data(
            before["prompt"],
            before["relation"],
            before["seed"],
            *images,
            *(
                verdict[key]
                for key in ("spatial", "objects", "relation_read")
                for verdict in verdicts
            ),
        )
    run.log({"grid": wandb.Image(str(folder / "grid.png")), "pictures": table})
    run.summary["judged"] = judged
    for part in ("before", "after", "difference", "judge") if judged else ():
        run.summary[part] = scores[part]
    run_folder = Path(run.dir).parent
    online = run.settings.mode == "online"
    url = run.url if online else None
    run.finish()
    if online:
        return TrackResult("online", f"W&B: {url}", run_folder)
    return TrackResult("offline", f"{trouble}W&B, offline: wandb sync {run_folder}", run_folder)


def _start(folder: Path, project: str, run_config: dict[str, Any], mode: str) -> tuple[Any, str]:
    """A run, and what to say if the server could not be reached and it is offline instead."""
    import wandb

    options: dict[str, Any] = {"silent": True, "console": "off", "init_timeout": INIT_TIMEOUT}
    if "finish_timeout" in wandb.Settings.model_fields:  # newer than the oldest W&B we accept
        options["finish_timeout"] = FINISH_TIMEOUT

    def start(mode: Any) -> Any:
        settings = wandb.Settings(**options)
        return wandb.init(
            project=project, dir=str(folder), config=run_config, mode=mode, settings=settings
        )

    if mode == "offline":
        return start("offline"), ""
    try:
        return start("online"), ""
    except Exception as error:  # no network, a refused key, ...
        return start("offline"), f"warning: W&B could not be reached ({reason(error)}). "


def _paired(rows: list[dict[str, Any]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The two arms' rows of each prompt and seed."""
    after = {(r["prompt"], r["seed"]): r for r in rows if r["arm"] == "after"}
    return [(r, after[r["prompt"], r["seed"]]) for r in rows if r["arm"] == "before"]
