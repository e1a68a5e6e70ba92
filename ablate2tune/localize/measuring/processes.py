"""The processes of `accelerate launch`: who measures which batch, and how rows come together."""

import os
from pathlib import Path
from typing import Any, TypeVar

from accelerate import PartialState
from accelerate.utils import gather_object

from ablate2tune import files
from ablate2tune.localize.measuring.row_file import Rows
from ablate2tune.models import Studied

R = TypeVar("R", bound=Rows)


class Processes:
    """This process among those of its launcher; alone without one.

    Every process holds all rows after each exchange, so that all decide alike. Only the first
    writes the stage's files; the others append to a file of their own until the first has them.
    """

    def __init__(self, studied: Studied):
        """Join the launcher's processes and move the model to this one's device."""
        self.index, self.count = 0, 1
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            state = PartialState(cpu=studied.device.type == "cpu")
            self.index, self.count = state.process_index, state.num_processes
            studied.to(state.device)

    @property
    def is_first(self) -> bool:
        """Whether this process writes."""
        return self.index == 0

    def owns(self, number: int) -> bool:
        """Whether this process measures the batch of that number."""
        return number % self.count == self.index

    def own_file(self, path: Path) -> Path:
        """Where this process appends rows of a file: the file itself, or `results.1.jsonl`."""
        return path if self.is_first else path.with_name(f"{path.stem}.{self.index}{path.suffix}")

    def exchange(self, results: Rows, rows: list[dict[str, Any]]) -> None:
        """Give all processes the rows that each of them measured; the first writes them."""
        if self.count == 1:
            return
        results.merge(gather_object(rows), write=self.is_first)

    def gather(self, found: list[Any]) -> list[Any]:
        """What all processes found, one after the other."""
        return found if self.count == 1 else gather_object(found)

    def open(self, results: R, path: Path) -> R:
        """Bring together what killed runs of any number of processes left behind."""
        own = self.own_file(path)
        parts = path.parent.glob(f"{path.stem}.*{path.suffix}") if self.is_first else [own]
        parts = sorted(parts)
        rows = [row for part in parts for row in files.read_jsonl(part)]
        results.merge(rows, write=self.is_first)
        self.exchange(results, results.rows())
        for part in parts:
            part.unlink(missing_ok=True)
        self.exchange(results, [])  # nobody appends to a file before it is gone
        return results

    def close(self, path: Path) -> None:
        """Remove this process's own file, whose rows the first has on disk."""
        if not self.is_first:
            self.own_file(path).unlink(missing_ok=True)
