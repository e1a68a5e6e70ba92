"""The log of a training run, and what of it is told while the run goes on."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ablate2tune import files
from ablate2tune.errors import UserError

SCHEMA = "ablate2tune/train-log/1"
RISEN = 1.05
"""A validation loss above so many times its start is warned of while training still runs."""


class TrainingLog:
    """The rows of log.jsonl, written as they come."""

    def __init__(self, path: Path, device: torch.device):
        """Nothing is written or read yet."""
        self._path, self._device = path, device
        self._start: float | None = None
        self._warned = False
        self._told: dict[str, str] = {}

    @property
    def note(self) -> str:
        """The losses now, for a progress bar."""
        return ", ".join(f"{name} {value}" for name, value in self._told.items())

    def rows(self) -> list[dict[str, Any]]:
        """What the file holds."""
        return files.read_jsonl(self._path)

    def cut(self, step: int) -> None:
        """Leave out what lies after a step that is gone on from; all, if that is 0.

        Raises:
            UserError: rows up to that step are not there.
        """
        kept = self.rows()[: step + 1] if step else []
        if step and [row.get("step") for row in kept] != list(range(step + 1)):
            folder = self._path.parent
            raise UserError(
                f"lacks rows of the {step} steps that the checkpoint has taken",
                where=str(self._path),
                mend=f"to train again from the start, `rm -r {shlex.quote(str(folder))}`",
            )
        files.write_jsonl(self._path, kept)
        for row in kept:
            self._look(row)

    def write(self, step: int, **values: Any) -> str | None:
        """Append a row; a warning where validation has risen, once."""
        row = {"schema": SCHEMA, "step": step, **values}
        files.append_jsonl(self._path, [{**row, "memory_gb": round(self.peak_memory_gb(), 3)}])
        return self._look(row)

    def _look(self, row: Mapping[str, Any]) -> str | None:
        if row["loss"] is not None:
            self._told["loss"] = f"{row['loss']:.3f}"
        if "validation" not in row:
            return None
        if "margin" in row["validation"]:
            told = {name: f"{row['validation'][name]:.3f}" for name in ("margin", "retention")}
            self._told |= told
            return None
        loss = row["validation"]["as_trained"]
        self._told["validation"] = f"{loss:.3f}"
        start = self._start = loss if self._start is None else self._start
        if self._warned or loss <= RISEN * start:
            return None
        self._warned = True
        return (
            f"warning: validation has risen from {start:.4g} to {loss:.4g} at step "
            f"{row['step']}; if it does not fall again, lower train.learning_rate"
        )

    def peak_memory_gb(self) -> float:
        """The most memory that was held: the card's, or all of this process, libraries too."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / 1e9
        return files.peak_memory_gb()
