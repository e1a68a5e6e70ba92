"""The adapters of a run's last checkpoints, each in a folder of its own that any tool loads."""

import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ablate2tune.disk.new_folder import new_folder
from ablate2tune.files import unwritable

NAME = re.compile(r"step-(\d{6,})")


class KeptCheckpoints:
    """Folders `step-000100`, written and taken away whole; the oldest make room."""

    def __init__(self, folder: Path, count: int):
        """Nothing is read or written yet.

        Args:
            folder: that they lie in.
            count: how many are kept; 1: none, since the run's state holds the last one.
        """
        self._folder, self._count = folder, count if count > 1 else 0

    def forget_after(self, step: int) -> None:
        """Take away what lies after the step that is gone on from, and what is half-written.

        Raises:
            UserError: the folder cannot be written.
        """
        for left in self._folder.glob(".step-*"):
            shutil.rmtree(left, ignore_errors=True)
        self._take_away([kept for kept in self.steps() if kept > step])

    def keep(self, step: int, write: Callable[[Path], object]) -> None:
        """Keep the adapter of a step, and no more than the last `count`.

        Args:
            step: a checkpoint's.
            write: fills an empty folder.

        Raises:
            UserError: the folder cannot be written; those before it stay.
        """
        if self._count:
            with new_folder(self._place(step), replace=True) as scratch:
                write(scratch)
        steps = self.steps()
        self._take_away(steps[: max(0, len(steps) - self._count)])

    def steps(self) -> list[int]:
        """Of which steps there are adapters, from the first on."""
        found = [NAME.fullmatch(path.name) for path in self._folder.glob("step-*")]
        return sorted(int(match[1]) for match in found if match)

    def _place(self, step: int) -> Path:
        return self._folder / f"step-{step:06d}"

    def _take_away(self, steps: list[int]) -> None:
        for step in steps:
            place = self._place(step)
            gone = place.with_name(f".{place.name}.gone")
            try:
                place.rename(gone)  # at once: a killed run leaves no half of it under its name
            except OSError as error:
                raise unwritable(place, error) from error
            shutil.rmtree(gone, ignore_errors=True)
        with suppress(OSError):
            self._folder.rmdir()  # if it is empty
