"""`results.jsonl`: one row per condition and example, appended as they come, resumable."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ablate2tune import runs
from ablate2tune.localize.measuring.condition import Condition

SCHEMA = "ablate2tune/result/2"
Values = dict[str, np.ndarray]
"""Figures by name, float64 (examples, parts); nan where an example has no row."""


class Results:
    """The rows of a sweep, on disk and in memory, by condition and example."""

    def __init__(
        self,
        path: Path,
        examples: Sequence[str],
        groups: Sequence[str],
        figures: Sequence[str],
        parts: Sequence[float],
        probe: str,
        own: Path | None = None,
    ):
        """Read what an earlier run left.

        Args:
            path: the file.
            examples: ids of the measured examples.
            groups: the contrast group of each.
            figures: names of the figures.
            parts: noise levels at which figures are measured apart; may be none.
            probe: who measured, in the rows.
            own: where this process appends, if not to `path`.
        """
        self.path = own or path
        self._examples, self._groups = list(examples), list(groups)
        self._figures, self._parts, self._probe = list(figures), list(parts), probe
        self._place = {example: index for index, example in enumerate(self._examples)}
        self._values: dict[Condition, Values] = {}
        self._measured: dict[Condition, np.ndarray] = {}
        self._rows: dict[tuple[Condition, str], dict[str, Any]] = {}
        for row in runs.read_jsonl(path):
            self._take(row)

    def __contains__(self, condition: Condition) -> bool:
        return bool(self.measured(condition).all())

    def __getitem__(self, condition: Condition) -> Values:
        """Figures of all examples, (n, parts); nan where an example was not measured."""
        return self._values[condition]

    @property
    def conditions(self) -> list[Condition]:
        """Conditions that have rows."""
        return list(self._measured)

    def measured(self, condition: Condition) -> np.ndarray:
        """Which examples have a row under this condition: bool, (n,)."""
        return self._measured.get(condition, np.zeros(len(self._examples), bool))

    def add(
        self, found: Mapping[Condition, Values], seconds: float, chunk: Sequence[int] = ()
    ) -> list[dict[str, Any]]:
        """Append rows and flush them to the disk; a row that is there already is left alone.

        Args:
            found: per condition, of the examples in `chunk`.
            seconds: wall time of all of them.
            chunk: indices of the examples; all by default.

        Returns:
            The rows that were appended.
        """
        chunk = list(chunk) or range(len(self._examples))
        share = round(seconds / max(1, len(chunk) * len(found)), 6)
        rows = [
            self._row(condition, self._examples[index], values, place, share)
            for condition, values in found.items()
            for place, index in enumerate(chunk)
            if not self.measured(condition)[index]
        ]
        runs.append_jsonl(self.path, rows)
        for row in rows:
            self._take(row)
        return rows

    def rows(self) -> list[dict[str, Any]]:
        """All rows, condition by condition as they first came, examples in their order."""
        order = {condition: index for index, condition in enumerate(self._measured)}
        keys = sorted(self._rows, key=lambda key: (order[key[0]], self._place[key[1]]))
        return [self._rows[key] for key in keys]

    def merge(self, rows: Sequence[dict[str, Any]], write: bool) -> None:
        """Take rows that another process measured; `write` appends the new ones to the file."""
        new = [row for row in rows if self._take(row)]
        if write and new:
            runs.append_jsonl(self.path, new)

    def put_in_order(self, conditions: Sequence[Condition]) -> None:
        """Write the file again, conditions as given and then all others, each row once."""
        self._measured = {
            condition: self._measured[condition]
            for condition in dict.fromkeys([*conditions, *self._measured])
            if condition in self._measured
        }
        runs.write_jsonl(self.path, self.rows())

    def _take(self, row: dict[str, Any]) -> bool:
        condition = Condition(tuple(row["condition"]), row["mode"])
        index = self._place.get(row["example"])
        if index is None or (condition, row["example"]) in self._rows:
            return False
        if condition not in self._values:
            shape = (len(self._examples), max(1, len(self._parts)))
            self._values[condition] = {name: np.full(shape, np.nan) for name in self._figures}
            self._measured[condition] = np.zeros(len(self._examples), bool)
        for name, values in self._values[condition].items():
            found = row["by_sigma"][name] if self._parts else row.get(name)
            values[index] = np.array(found, dtype=float)
        self._measured[condition][index] = True
        self._rows[condition, row["example"]] = row
        return True

    def _row(
        self, condition: Condition, example: str, found: Values, place: int, seconds: float
    ) -> dict[str, Any]:
        """As in the file; a value that is not finite is written as null."""
        parts = {
            name: [float(x) if np.isfinite(x) else None for x in np.atleast_1d(values[place])]
            for name, values in found.items()
        }
        means = {
            name: None if None in values else float(np.mean(np.array(found[name][place], float)))
            for name, values in parts.items()
        }
        return {
            "schema": SCHEMA,
            "condition": list(condition.addresses),
            "mode": condition.mode,
            "probe": self._probe,
            "example": example,
            "group": self._groups[self._place[example]],
            **means,
            "seconds": seconds,
            **({"by_sigma": parts} if self._parts else {}),
        }
