"""JSON-lines files that the user wrote: read whole and strictly, each fault by its line.

Our own files, which a killed process may leave with a torn last line, are read by
`files.read_jsonl`.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ablate2tune.errors import UserError


class UserRow(NamedTuple):
    """One line of such a file."""

    where: str
    """The file and the line, for messages."""
    values: dict[str, Any]

    def text(self, key: str, mend: str) -> str:
        """The text below a key.

        Raises:
            UserError: it is missing, empty or no text.
        """
        value = self.values.get(key)
        if not isinstance(value, str):
            missing = "is missing" if value is None else "is no text"
            raise UserError(f"{key!r} {missing}", where=self.where, mend=mend)
        if not value.strip():
            raise UserError(f"{key!r} is empty", where=self.where, mend=f"write the {key}")
        return value

    def name(self, key: str, default: str) -> str:
        """The name below a key, where a number will do.

        Raises:
            UserError: it is neither.
        """
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            raise UserError(
                f"{key} is {value!r}", where=self.where, mend=f"write a name or a number as {key}"
            )
        return str(value)

    def one_of(self, key: str, words: Sequence[str]) -> str:
        """The word below a key; the first one where the row has none.

        Raises:
            UserError: it is another one.
        """
        value = self.values.get(key, words[0])
        if value not in words:
            mend = f"write {' or '.join(map(repr, words))}"
            raise UserError(f"{key} is {value!r}", where=self.where, mend=mend)
        return value

    def path(self, key: str, folder: Path, mend: str) -> Path:
        """The file below a folder whose name is below a key.

        The name leads out by itself ("../1.png", "/1.png") or not at all: what the user has linked
        into the folder is in it, wherever it lies.

        Raises:
            UserError: the name is missing, none of a file, or leads out of the folder.
        """
        name = self.text(key, mend)
        if "\0" in name:  # no file system has such a name
            raise UserError(f"{key} is {name!r}", where=self.where, mend=mend)
        within = Path(os.path.normpath(name))  # "a/../1.png" is "1.png", whatever "a" links to
        if within.is_absolute() or ".." in within.parts:
            raise UserError(
                f"{key} {name!r} leads out of the folder",
                where=self.where,
                mend=f"put the file into {folder}",
            )
        return folder / within


def read_user_rows(path: Path) -> list[UserRow]:
    """The rows of a JSON-lines file, one object on each line; blank lines are no rows.

    The last line needs no newline at its end.

    Raises:
        UserError: the file is missing or not UTF-8, or a line is not a JSON object, has a key
            twice or says the same as an earlier line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise UserError("no such file", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"is not UTF-8 text (byte {error.start})", where=str(path), mend="save it as UTF-8"
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"cannot be read ({reason})", where=str(path)) from error
    rows: list[UserRow] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            values = json.loads(line, object_pairs_hook=_once)
        except ValueError as error:
            raise UserError(
                f"is not a JSON line ({error})", where=where, mend="write one JSON object a line"
            ) from error
        if not isinstance(values, dict):
            raise UserError(
                f"is a JSON {_kind(values)}, not an object",
                where=where,
                mend='write one object a line: {"file_name": ..., "text": ...}',
            )
        key = json.dumps(values, sort_keys=True)
        if key in seen:
            raise UserError(
                f"says the same as line {seen[key]}", where=where, mend="take one of them out"
            )
        seen[key] = number
        rows.append(UserRow(where, values))
    return rows


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} is given twice")
    return values


def _kind(value: Any) -> str:
    return {list: "array", str: "text", bool: "truth value"}.get(type(value), "number")
