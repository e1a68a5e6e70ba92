"""What the terminal shows: progress bars with rate and time left, notes, and final lines."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

Progress = Callable[[int, int], None]
"""How long work tells where it is: called with (done, in all), the total may grow."""


class Bar(Protocol):
    """A `Progress` that may also be told a word on how the work goes."""

    def __call__(self, done: int, total: int, note: str = "", /) -> None:
        """Show it."""
        ...


ELSEWHERE = 160
"""Columns of a table that is not written to a terminal, where nobody could make it wider."""


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "", style="progress.data.speed")


class Terminal:
    """Bars on a terminal, a line every half minute elsewhere; silent for secondary processes."""

    def __init__(self, quiet: bool = False):
        self.quiet = quiet
        # Without markup, which would swallow addresses such as attn[heads=3].
        self.console = Console(quiet=quiet, highlight=False, markup=False)
        if not self.console.is_terminal:
            self.console.width = ELSEWHERE

    def say(self, message: object) -> None:
        """Print one line, unfolded, or a rich table, between the bars."""
        self.console.print(message, soft_wrap=isinstance(message, str))

    @contextmanager
    def bar(self, label: str) -> Iterator[Bar]:
        """A progress bar; yields the callback (done, total, note)."""
        if not self.console.is_terminal:
            yield self._lines(label)
            return
        columns = (
            TextColumn("{task.description:<14}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            _Rate(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Bars(*columns, console=self.console, disable=self.quiet) as bars:
            task = bars.add_task(label, total=None, note="")

            def show(done: int, total: int, note: str = "", /) -> None:
                bars.update(task, completed=done, total=total, note=note)

            yield show

    def _lines(self, label: str, every: float = 30.0) -> Bar:
        began = time.monotonic()
        spoken = began
        first: int | None = None

        def pace(done: int, total: int) -> str:
            """Seconds so far and, of work that was not there at the start, rate and time left."""
            seconds = time.monotonic() - began
            rate = (done - (first or 0)) / seconds
            left = f", {rate:.2g}/s, {(total - done) / rate:.0f} s left" if rate > 0 else ""
            return f"{seconds:.0f} s" + (left if done < total else "")

        def report(done: int, total: int, note: str = "", /) -> None:
            nonlocal spoken, first
            first = done if first is None else first
            now = time.monotonic()
            if now - spoken >= every or (done == total and now > began):
                spoken = now
                self.say(f"{label}: {done}/{total}, {pace(done, total)}{note and f', {note}'}")

        return report
