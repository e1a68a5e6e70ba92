"""`results.jsonl`: one row per condition and example, appended as they come, resumable.

A figure of all examples together has a row of its own, whose `example` is null.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ablate2tune.errors import UserError
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.measuring.row_file import Row, Rows

SCHEMA = "ablate2tune/result/2"
Values = dict[str, np.ndarray]
"""Figures by name, float64 (examples, parts); nan where an example has no row."""


class Results(Rows):
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

        Raises:
            UserError: a row is not one of a sweep.
        """
        self._examples, self._groups = list(examples), list(groups)
        self._figures, self._parts, self._probe = list(figures), list(parts), probe
        self._place = {example: index for index, example in enumerate(self._examples)}
        self._values: dict[Condition, Values] = {}
        self._measured: dict[Condition, np.ndarray] = {}
        self._of_set: dict[Condition, dict[str, float]] = {}
        super().__init__(path, _key, own)

    def __contains__(self, condition: object) -> bool:
        return isinstance(condition, Condition) and bool(self.measured(condition).all())

    def __getitem__(self, condition: Any) -> Values:
        """Figures of all examples, (n, parts); nan where an example was not measured."""
        return self._values[condition]

    @property
    def parts(self) -> list[float]:
        """Noise levels at which figures are measured apart; may be none."""
        return self._parts

    @property
    def conditions(self) -> list[Condition]:
        """Conditions that have rows."""
        return list(self._measured)

    def measured(self, condition: Condition) -> np.ndarray:
        """Which examples have a row under this condition: bool, (n,)."""
        return self._measured.get(condition, np.zeros(len(self._examples), bool))

    def of_set(self, condition: Condition) -> dict[str, float] | None:
        """Figures of all examples together; None where they were not measured."""
        return self._of_set.get(condition)

    def add(
        self,
        found: Mapping[Condition, Values],
        seconds: float,
        chunk: Sequence[int] = (),
        facts: Sequence[Row] = (),
    ) -> list[Row]:
        """Append rows and flush them to the disk; a row that is there already is left alone.

        Args:
            found: per condition, of the examples in `chunk`.
            seconds: wall time of all of them.
            chunk: indices of the examples; all by default.
            facts: what else the row of each example says.

        Returns:
            The rows that were appended.
        """
        chunk = list(chunk) or range(len(self._examples))
        share = round(seconds / max(1, len(chunk) * len(found)), 6)
        return self.append(
            [
                self._row(condition, self._examples[index], values, place, share)
                | (facts[place] if facts else {})
                for condition, values in found.items()
                for place, index in enumerate(chunk)
            ]
        )

    def add_set(self, condition: Condition, figures: Mapping[str, float]) -> list[Row]:
        """Append the row of figures of all examples together; the same return."""
        return self.append([{**self._head(condition, None), **figures}])

    def rows(self) -> list[Row]:
        """All rows, condition by condition as they first came, examples in their order."""
        order = {condition: index for index, condition in enumerate(self._measured)}
        last = len(self._place)

        def place(row: Row) -> tuple[int, int]:
            return order[_condition(row)], self._place.get(row["example"], last)

        return sorted(super().rows(), key=place)

    def begin_with(self, conditions: Sequence[Condition]) -> None:
        """Write the file again, conditions as given and then all others, each row once."""
        self._measured = {
            condition: self._measured[condition]
            for condition in dict.fromkeys([*conditions, *self._measured])
            if condition in self._measured
        }
        order = {_key(row): place for place, row in enumerate(self.rows())}
        self.put_in_order(lambda row: order[_key(row)])

    def _take(self, row: Row) -> bool:
        schema = row.get("schema") if isinstance(row, dict) else None
        if schema != SCHEMA:
            raise UserError(
                f"a row is of {schema!r}, not of {SCHEMA!r}",
                where=str(self.path),
                mend="delete the stage's folder to measure again",
            )
        try:
            condition, example = _key(row)
            place = self._place.get(example) if example else None
            if (example and place is None) or not super()._take(row):
                return False
            if condition not in self._values:
                shape = (len(self._examples), max(1, len(self._parts)))
                self._values[condition] = {name: np.full(shape, np.nan) for name in self._figures}
                self._measured[condition] = np.zeros(len(self._examples), bool)
            if place is None:
                self._of_set[condition] = {x: row[x] for x in self._figures if x in row}
                return True
            for name, values in self._values[condition].items():
                found = row["by_sigma"][name] if self._parts else [row.get(name)]
                values[place] = _numbers(name, found, values.shape[1])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"a row is not one of a sweep ({type(error).__name__}: {error})",
                where=str(self.path),
                mend="delete that line, or the file to measure again",
            ) from error
        self._measured[condition][place] = True
        return True

    def _head(self, condition: Condition, example: str | None) -> Row:
        group = None if example is None else self._groups[self._place[example]]
        return {
            "schema": SCHEMA,
            "condition": list(condition.addresses),
            "mode": condition.mode,
            "probe": self._probe,
            "example": example,
            "group": group,
        }

    def _row(
        self, condition: Condition, example: str, found: Values, place: int, seconds: float
    ) -> Row:
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
            **self._head(condition, example),
            **means,
            "seconds": seconds,
            **({"by_sigma": parts} if self._parts else {}),
        }


def _numbers(name: str, found: Any, count: int) -> np.ndarray:
    """A row's values of a figure, (count,); nan for null.

    Raises:
        ValueError: they are others, or more or fewer.
    """
    if len(found) != count or any(isinstance(x, bool | str) for x in found):
        raise ValueError(f"{name} is {found}, not {count} numbers")
    return np.array(found, dtype=float)


def _condition(row: Row) -> Condition:
    return Condition(tuple(row["condition"]), row["mode"])


def _key(row: Row) -> tuple[Condition, str | None]:
    return _condition(row), row["example"]
