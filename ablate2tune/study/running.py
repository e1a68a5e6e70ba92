"""Runs that several processes share out: found again, never made twice, killed anywhere.

A process takes its own share first and then whatever nobody works at, so that the end does not
wait for the slowest, nor for one that died.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from time import sleep
from typing import Any, NamedTuple

from ablate2tune.disk.folder_lock import lock
from ablate2tune.errors import DivergedError, HeldError, UserError
from ablate2tune.files import read_json, write_json
from ablate2tune.progress import Terminal
from ablate2tune.stage_running import run_stage
from ablate2tune.study.cells import shares
from ablate2tune.study.experiment import Run
from ablate2tune.study.launching import Place

OUTCOME = "outcome.json"
SCHEMA = "ablate2tune/outcome/1"
DONE, DIVERGED, FAILED, IMPOSSIBLE = "done", "diverged", "failed", "impossible"
"""What became of a cell. A failure is no result: the next run of the study tries again."""
WAIT = 0.5
"""Seconds between looks at what other processes work at."""


class Outcome(NamedTuple):
    """What became of a run."""

    status: str
    message: str = ""


def outcome_of(run: Run) -> Outcome | None:
    """What became of a run that was made before; None if it was not, or is not finished."""
    path = run.folder / OUTCOME
    if not path.is_file():
        return None
    held = read_json(path)
    return Outcome(held["status"], held["message"]) if held["token"] == run.token else None


def work_through(
    runs: Sequence[Run], place: Place, on_done: Callable[[Run, Outcome], None]
) -> list[Outcome]:
    """Make all runs, with the other processes; what became of each, in their order.

    Args:
        runs: whose folders say what they hold; a folder may come more than once.
        place: this process.
        on_done: told of each that this process has made.

    Raises:
        UserError: a run's outcome cannot be written.
    """
    found: dict[Path, Outcome] = {}
    waiting = [runs[number] for number in shares(len(runs), place.index, place.count)]
    while waiting:
        held: list[Run] = []
        for run in waiting:
            if run.folder in found:
                continue
            known = outcome_of(run)
            if known is None:
                try:
                    with lock(run.folder):
                        known = outcome_of(run) or _made(run, on_done)
                except HeldError:
                    held.append(run)
                    continue
            found[run.folder] = known
        waiting = held
        if held:
            sleep(WAIT)
    return [found[run.folder] for run in runs]


def _made(run: Run, on_done: Callable[[Run, Outcome], None]) -> Outcome:
    quiet = Terminal(quiet=True)
    outcome = Outcome(DONE)
    try:
        for stage in run.stages:
            run_stage(stage, run.recipe, quiet)
    except DivergedError as error:
        outcome = Outcome(DIVERGED, error.what)
    except UserError as error:
        outcome = Outcome(FAILED, str(error))
    if outcome.status != FAILED:
        held: dict[str, Any] = {"schema": SCHEMA, **outcome._asdict(), "token": run.token}
        write_json(run.folder / OUTCOME, held)
    on_done(run, outcome)
    return outcome
