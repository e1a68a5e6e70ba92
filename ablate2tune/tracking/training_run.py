"""A training in Weights & Biases: its curves and samples, while it runs or afterwards."""

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ablate2tune import files
from ablate2tune.errors import reason
from ablate2tune.tracking.wandb_run import (
    Labels,
    Mode,
    Wanted,
    finish_run,
    start_run,
    tracking_mode,
)

RUN = "wandb-run.json"
"""Holds the id of the run, so that a training which is gone on with goes on in it."""


def live_mode(wanted: Wanted) -> Mode:
    """How a training is tracked while it runs.

    Where nobody is logged in nobody watches: then its curves come with the comparison, unless the
    recipe asks for offline runs.
    """
    mode = tracking_mode(wanted)
    return mode if mode == "online" or wanted == "offline" else "off"


def define_curves(run: Any) -> None:
    """Training's figures are drawn over its own steps."""
    run.define_metric("train/step", hidden=True)
    run.define_metric("train/*", step_metric="train/step")


def log_row(run: Any, row: Mapping[str, Any], grid: Path | None) -> None:
    """A row of log.jsonl, with the pictures that were sampled at its step."""
    import wandb

    held_out = row.get("validation", {})
    values = {
        "loss": row["loss"],
        "gradient norm": row.get("grad_norm"),
        "learning rate": row["lr"],
        "validation": held_out.get("as_trained"),
        "margin": held_out.get("margin"),
        "retention": held_out.get("retention"),
        **{f"validation at {sigma}": x for sigma, x in held_out.get("by_sigma", {}).items()},
    }
    told = {f"train/{name}": value for name, value in values.items() if value is not None}
    if grid is not None and grid.suffix == ".png":
        told["train/samples"] = wandb.Image(str(grid), caption=f"step {row['step']}")
    run.log({"train/step": row["step"], **told})


class TrainingRun:
    """A run that gets each step as it comes; whatever W&B raises is told once, at the end."""

    def __init__(self, folder: Path, labels: Labels, mode: Mode):
        """Nothing is begun before the first row.

        Args:
            folder: the train stage's.
            labels: by what the run is found.
            mode: as `live_mode` says.
        """
        self._folder, self._labels = folder, labels
        self._mode: Mode = mode
        self._run: Any = None
        self._trouble: str | None = None
        self._said = ""

    def log(self, row: Mapping[str, Any], grid: Path | None) -> None:
        """See `log_row`; step 0 begins a run, a later one goes on with the one that is there."""
        if self._mode == "off" or self._trouble:
            return
        try:
            if self._run is None:
                self._begin(fresh=row["step"] == 0)
            log_row(self._run, row, grid)
        except Exception as error:  # whatever W&B raises, training goes on
            self._trouble = reason(error)

    def finish(self, adapter: Path | None) -> str | None:
        """End the run, with the adapter as its artifact, or as failed without one; what to say."""
        try:
            if self._run is not None:
                if adapter and self._run.settings.mode == "online":
                    self._run.log_artifact(str(adapter), name=f"{self._run.id}-adapter")
                line = finish_run(self._run, self._said, 0 if adapter else 1).line
                self._run = None
                if not self._trouble:
                    return line
        except Exception as error:  # the same
            self._trouble = self._trouble or reason(error)
        if self._trouble:
            return f"warning: W&B tracking failed ({self._trouble}); log.jsonl has all of it"
        return None

    def _begin(self, fresh: bool) -> None:
        path = self._folder / RUN
        if fresh or not path.exists():
            files.write_json(path, {"id": uuid.uuid4().hex[:8]})
        name = files.read_json(path)["id"]
        self._run, self._said = start_run(
            self._folder, self._labels, self._mode, "train", id=name, resume="allow"
        )
        define_curves(self._run)
