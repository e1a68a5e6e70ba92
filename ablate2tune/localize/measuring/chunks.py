"""Examples are measured in chunks, which the processes of a launcher share."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.measuring.processes import Processes
from ablate2tune.localize.measuring.results import Results
from ablate2tune.localize.measuring.row_file import Row
from ablate2tune.localize.probes.probe import Measure, Probe
from ablate2tune.localize.sampling import ObstacleError

T = TypeVar("T")


class Chunks:
    """Measures conditions on examples; what is on disk is left alone.

    Chunks are the same whatever was measured before and for any number of processes. These are
    dealt the chunks in turn, so that the examples of one share the baseline's run with all
    conditions; or, where conditions share nothing, the conditions.
    """

    def __init__(self, probe: Probe[Any], processes: Processes, report: Callable[[], None]):
        """Nothing is measured yet; `report` is called after each chunk."""
        self._probe, self._processes, self._report = probe, processes, report

    def measure(
        self,
        conditions: Sequence[Condition],
        wanted: Sequence[int],
        into: Results,
        by: Measure,
    ) -> dict[str, str]:
        """Measure conditions on examples; a chunk with any row missing is run again whole.

        Args:
            conditions: what to measure.
            wanted: indices of the examples.
            into: where the rows go.
            by: how they are measured.

        Returns:
            Addresses of conditions that could not be measured, with the reason.
        """
        chunks = _chunks(wanted, self._probe.batch)
        new: list[Row] = []
        failed: list[tuple[str, str]] = []
        if self._probe.shares:
            for chunk in self._own(chunks):
                new += self._measure_chunk(conditions, chunk, into, by)
        else:
            for condition in self._own(conditions):
                try:
                    for chunk in chunks:
                        new += self._measure_chunk([condition], chunk, into, by)
                    new += self._measure_set(condition, into)
                except ObstacleError as error:
                    failed.append((condition.addresses[0], str(error)))
        self._processes.exchange(into, new)
        return dict(self._processes.gather(failed))

    def _own(self, work: Sequence[T]) -> Iterator[T]:
        """The part of some work that is this process's."""
        return (part for number, part in enumerate(work) if self._processes.owns(number))

    def _measure_chunk(
        self, conditions: Sequence[Condition], chunk: list[int], into: Results, by: Measure
    ) -> list[Row]:
        if all(into.measured(condition)[chunk].all() for condition in conditions):
            return []
        began = time.perf_counter()
        found = by(conditions, chunk)
        facts = self._probe.facts(conditions[0], chunk)
        rows = into.add(found, time.perf_counter() - began, chunk, facts)
        self._probe.counted += sum(self._probe.cost(c, len(chunk)) for c in conditions)
        self._report()
        return rows

    def _measure_set(self, condition: Condition, into: Results) -> list[Row]:
        if into.of_set(condition) is not None:
            return []
        found = self._probe.measure_set(condition)
        return into.add_set(condition, found) if found else []


def _chunks(wanted: Sequence[int], size: int) -> list[list[int]]:
    """As few parts of at most that size as there can be, about equally large.

    A small one would share its forwards between conditions that start at different blocks.
    """
    count = max(1, math.ceil(len(wanted) / size))
    step = max(1, math.ceil(len(wanted) / count))
    return [list(wanted[start : start + step]) for start in range(0, len(wanted), step)]
