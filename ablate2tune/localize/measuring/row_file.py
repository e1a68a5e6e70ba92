"""Rows on disk and in memory by a key of their own, appended as they come, each once."""

from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

from ablate2tune import files

Row = dict[str, Any]


class Rows:
    """A JSON-lines file whose rows have keys; a row that is there already is left alone."""

    def __init__(self, path: Path, key: Callable[[Row], Hashable], own: Path | None = None):
        """Read what an earlier run left.

        Args:
            path: the file.
            key: what tells a row from all others.
            own: where this process appends, if not to `path`.
        """
        self.path = own or path
        self._key, self._rows = key, dict[Hashable, Row]()
        for row in files.read_jsonl(path):
            self._take(row)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._rows

    def __getitem__(self, key: Hashable) -> Row:
        return self._rows[key]

    def rows(self) -> list[Row]:
        """All rows, as they came."""
        return list(self._rows.values())

    def append(self, rows: Sequence[Row]) -> list[Row]:
        """Append the rows that are new, flush them to the disk and return them."""
        new = [row for row in rows if self._take(row)]
        files.append_jsonl(self.path, new)
        return new

    def merge(self, rows: Sequence[Row], write: bool) -> None:
        """Take rows of another process; `write` appends the new ones to the file."""
        new = [row for row in rows if self._take(row)]
        if write and new:
            files.append_jsonl(self.path, new)

    def put_in_order(self, place: Callable[[Row], Any]) -> None:
        """Write the file again, rows sorted by `place`."""
        self._rows = {self._key(row): row for row in sorted(self._rows.values(), key=place)}
        if self._rows:
            files.write_jsonl(self.path, self._rows.values())

    def _take(self, row: Row) -> bool:
        """Keep a row in memory; False for one that is there."""
        key = self._key(row)
        if key in self._rows:
            return False
        self._rows[key] = row
        return True
