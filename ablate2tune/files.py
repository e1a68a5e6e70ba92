"""Files: written whole, or as rows that are appended and survive a torn line; hashes of values."""

import hashlib
import json
import os
import resource
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ablate2tune.errors import UserError, reason


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file: a temporary name beside it, fsync, rename.

    Raises:
        UserError: the folder cannot be written or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> UserError:
    """The error for a file that cannot be written, with the system's reason."""
    return UserError(
        f"cannot write: {error.strerror or reason(error)}",
        where=str(path),
        mend="free the disk or choose another folder",
    )


def write_text(path: Path, text: str) -> None:
    """Write a whole UTF-8 text file (see `write_bytes`)."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write a whole JSON file, UTF-8, two-space indented."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: the file is missing, cannot be read or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError("no such file", where=str(path)) from error
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=str(path)) from error
    except ValueError as error:  # no JSON, or not UTF-8
        raise UserError(f"not valid JSON ({error})", where=str(path)) from error


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write a whole JSON-lines file."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def append_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Append rows to a JSON-lines file and flush them to the disk.

    A torn last line, left by a killed process, is cut off first.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "ab+") as file:
            _cut_torn_line(file)
            file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise unwritable(path, error) from error


def _cut_torn_line(file: Any) -> None:
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        return
    file.seek(size - 1)
    if file.read(1) == b"\n":
        return
    file.seek(0)
    file.truncate(file.read().rfind(b"\n") + 1)
    file.seek(0, os.SEEK_END)


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read a JSON-lines file; a missing file has no rows, a torn last line is left out.

    Raises:
        UserError: a line other than the last is not JSON.
    """
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    rows = []
    for number, line in enumerate(lines[:-1], start=1):
        try:
            rows.append(json.loads(line))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise UserError(
                "not a JSON line", where=f"{path}:{number}", mend="delete the file to make it again"
            ) from error
    return rows


def content_hash(*parts: Any) -> str:
    """SHA-256 (16 hex digits) over JSON-able values; a `Path` counts with its content.

    A folder counts with the names and contents of all its files.
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            files = sorted(p for p in part.rglob("*") if p.is_file()) if part.is_dir() else [part]
            for file in files:
                digest.update(file.relative_to(part.parent).as_posix().encode() + b"\0")
                digest.update(hashlib.sha256(file.read_bytes()).digest())
        else:
            digest.update(json.dumps(part, sort_keys=True, default=str).encode() + b"\0")
    return digest.hexdigest()[:16]


def peak_memory_gb() -> float:
    """Peak resident memory of this process so far, in GB (10^9 bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e9 if sys.platform == "darwin" else peak * 1024 / 1e9


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """The keys in which two nested settings differ, each as "key was X, is Y"."""
    return [f"{key} was {was!r}, is {now!r}" for key, was, now in differing(old, new)]


def differing(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """The keys in which two nested settings differ, dotted, each with its old and new value."""
    before, after = _flatten(old), _flatten(json.loads(json.dumps(new, default=str)))
    return [
        (key, before.get(key), after.get(key))
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        flat: dict[str, Any] = {}
        for key, child in value.items():
            flat |= _flatten(child, f"{prefix}.{key}" if prefix else str(key))
        return flat
    return {prefix: value}
