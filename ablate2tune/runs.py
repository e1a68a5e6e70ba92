"""Run directories: whole-file writes, append-only rows, the manifest, and stages that know
whether their inputs have changed."""

import datetime
import hashlib
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from ablate2tune import __version__
from ablate2tune.errors import UserError

PACKAGES = ("torch", "diffusers", "transformers", "peft", "accelerate", "safetensors", "numpy")


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
        f"cannot write: {error.strerror}",
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
        UserError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError("no such file", where=str(path)) from error
    except json.JSONDecodeError as error:
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


class RunDir:
    """One run directory, `runs/NAME`, and its manifest.

    The manifest holds the resolved recipe, versions, git revision, hardware and, per stage, its
    inputs, start, end, seconds and peak memory. A stage's folder belongs to one set of inputs:
    another set is refused, and the message names the keys that differ.
    """

    def __init__(self, path: Path, recipe: dict[str, Any]):
        """Open the directory; nothing is written before a stage is claimed."""
        self.path = path
        self._manifest_path = path / "manifest.json"
        if self._manifest_path.exists():
            self.manifest = read_json(self._manifest_path)
        else:
            self.manifest = {"schema": "ablate2tune/manifest/1", "stages": {}}
        self.manifest["recipe"] = recipe

    def folder(self, stage: str) -> Path:
        """The stage's own folder inside the run directory."""
        return self.path / stage

    def is_done(self, stage: str, inputs: dict[str, Any]) -> bool:
        """Whether the stage ended well with exactly these inputs."""
        record = self.manifest["stages"].get(stage, {})
        return "end" in record and not differences(record["inputs"], inputs)

    def claim(self, stage: str, inputs: dict[str, Any]) -> None:
        """Take the stage's folder for these inputs (JSON-able, nested).

        Raises:
            UserError: the folder holds results of other inputs, or cannot be written.
        """
        record = self.manifest["stages"].get(stage)
        if record and self.folder(stage).exists():
            differing = differences(record["inputs"], inputs)
            if differing:
                raise UserError(
                    f"belongs to another recipe: {'; '.join(differing[:3])}",
                    where=str(self.folder(stage)),
                    mend="give the recipe another name, or delete that folder to start again",
                )
        else:
            self.manifest["stages"][stage] = {"inputs": json.loads(json.dumps(inputs, default=str))}
        self.manifest["environment"] = environment()
        write_json(self._manifest_path, self.manifest)

    def reopen(self, stage: str, inputs: dict[str, Any], free: Collection[str]) -> bool:
        """Give a stage new inputs, if they differ from its own below the keys `free` alone.

        For inputs on which part of a stage's files does not depend: the stage counts as begun, and
        what it left stays where it is.

        Args:
            stage: the stage.
            inputs: its new inputs (JSON-able, nested).
            free: keys that may differ, with all below them ("compare.judge").

        Returns:
            Whether the stage was there with other inputs and has the new ones now.
        """
        record = self.manifest["stages"].get(stage)
        if record is None:
            return False
        differing = [key for key, _, _ in _differing(record["inputs"], inputs)]
        below = tuple(f"{key}." for key in free)
        if not differing or not all(f"{key}.".startswith(below) for key in differing):
            return False
        self.manifest["stages"][stage] = {"inputs": json.loads(json.dumps(inputs, default=str))}
        write_json(self._manifest_path, self.manifest)
        return True

    @contextmanager
    def stage(self, name: str, inputs: dict[str, Any]) -> Iterator[Path]:
        """Claim a stage, yield its folder, and record its time and memory when it ends well."""
        self.claim(name, inputs)
        record = self.manifest["stages"][name]
        record.setdefault("start", _now())
        began = time.perf_counter()
        self.folder(name).mkdir(parents=True, exist_ok=True)
        yield self.folder(name)
        record["end"] = _now()
        record["seconds"] = round(time.perf_counter() - began, 1)
        record["peak_memory_gb"] = round(peak_memory_gb(), 3)
        write_json(self._manifest_path, self.manifest)


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """The keys in which two nested settings differ, each as "key was X, is Y"."""
    return [f"{key} was {was!r}, is {now!r}" for key, was, now in _differing(old, new)]


def environment() -> dict[str, Any]:
    """Versions, git revision and hardware of this process."""
    versions = {"ablate2tune": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        versions[package] = metadata.version(package)
    return {
        "versions": versions,
        "git": _git_revision(),
        "hardware": {
            "machine": platform.machine(),
            "system": platform.system(),
            "cores": os.cpu_count(),
        },
    }


def _git_revision() -> str | None:
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _differing(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, Any, Any]]:
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
