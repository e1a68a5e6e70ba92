"""Groups that could not be rendered: recorded with their logs, while the others go on."""

import shutil
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from ablate2tune import files
from ablate2tune.errors import UserError
from ablate2tune.scenes.rendering.resume import remove_group

FILE = "failed.jsonl"
LOGS = "failed"
FIRST = 3
"""Groups of one relation that may fail before any of them has succeeded."""


class FirstFailedError(UserError):
    """The first groups of a relation have all failed, so the recipe is likely at fault."""


class Failure(NamedTuple):
    """Why one group could not be rendered."""

    group_id: str
    relation: str
    reason: str
    """The same for failures of one kind."""
    log: str
    """What its worker printed last."""
    rejections: tuple[str, ...] = ()
    """Why its views were not accepted, one by one."""


class Failures:
    """The failures of one run, below a data set's folder: `failed.jsonl`, `failed/GROUP.log`.

    A failed group leaves no picture behind.

    Args:
        folder: the data set's folder; the records of an earlier run are removed.
        first: per relation, the number of groups of which one must succeed.
    """

    def __init__(self, folder: Path, first: dict[str, int]):
        self._folder, self._first = folder, first
        self._all: list[Failure] = []
        self._succeeded: set[str] = set()
        try:
            (folder / FILE).unlink(missing_ok=True)
            if (folder / LOGS).exists():
                shutil.rmtree(folder / LOGS)
        except OSError as error:
            raise files.unwritable(folder, error) from error

    @property
    def groups(self) -> set[str]:
        """The ids of the groups that failed."""
        return {failure.group_id for failure in self._all}

    def succeeded(self, relation: str) -> None:
        """A group of a relation is there."""
        self._succeeded.add(relation)

    def add(self, failure: Failure) -> None:
        """Record a failure.

        Raises:
            FirstFailedError: the first groups of its relation have all failed.
            UserError: the record cannot be written.
        """
        self._all.append(failure)
        remove_group(self._folder, failure.group_id)
        log = f"{LOGS}/{failure.group_id}.log"
        lines = [failure.reason, *failure.rejections, failure.log]
        files.write_text(self._folder / log, "\n".join(filter(None, lines)) + "\n")
        files.append_jsonl(
            self._folder / FILE,
            [
                {
                    "group_id": failure.group_id,
                    "relation": failure.relation,
                    "reason": failure.reason,
                    "rejections": dict(Counter(failure.rejections)),
                    "log": log,
                }
            ],
        )
        same = [f for f in self._all if f.relation == failure.relation]
        allowed = self._first[failure.relation]
        if failure.relation not in self._succeeded and len(same) >= allowed:
            groups = "group" if len(same) == 1 else f"{len(same)} groups"
            raise FirstFailedError(
                f"the first {groups} of {failure.relation!r} failed: {_told(same)}",
                where=str(self._folder / FILE),
                mend=_mend(same),
            )

    def raise_if_any(self, groups: int) -> None:
        """Say at a run's end what failed of so many groups.

        Raises:
            UserError: a group failed.
        """
        if self._all:
            raise UserError(
                f"{len(self._all)} of {groups} groups failed: {_told(self._all)}; "
                "the others are whole",
                where=str(self._folder / FILE),
                mend=f"the same command tries them again; {_mend(self._all)}",
            )


MENDS = {
    "no answer within": "for time-outs raise scenes.timeout or lower scenes.samples",
    "no acceptable view": "for views that are not accepted lower scenes.min_area or raise "
    "scenes.max_attempts",
}
"""What to do about failures, by what their reasons say."""


def _mend(failures: list[Failure]) -> str:
    said = [mend for cause, mend in MENDS.items() if any(cause in f.reason for f in failures)]
    return "; ".join([f"logs are in {LOGS}/", *said])


def _told(failures: list[Failure]) -> str:
    """Reasons with their counts, the commonest first, and what was rejected how often."""
    counts = Counter(failure.reason for failure in failures).most_common()
    told = ", ".join(f"{reason} ({n})" for reason, n in counts)
    rejections = Counter(r for failure in failures for r in failure.rejections)
    met = ", ".join(f"{reason} ({n})" for reason, n in rejections.most_common())
    return f"{told}: {met}" if met else told
