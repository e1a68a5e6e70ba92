"""A run directory, `runs/NAME`: the manifest, and which stage's folder belongs to what inputs."""

import datetime
import json
import os
import platform
import shlex
import shutil
import subprocess
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from ablate2tune import __version__
from ablate2tune.disk.folder_lock import short_lock
from ablate2tune.disk.identity import NOT_HERE, PREFIX, file_hash
from ablate2tune.errors import UserError
from ablate2tune.files import differing, peak_memory_gb, read_json, write_json

PACKAGES = ("torch", "diffusers", "transformers", "peft", "accelerate", "safetensors", "numpy")
APPENDED = ".jsonl"
"""Ending of files that hold rows of long work, which are never deleted for a damaged line."""


class RunDir:
    """One run directory and its manifest.

    The manifest holds the resolved recipe, versions, git revision, hardware and, per stage, its
    inputs, start, end, seconds, peak memory and the size and SHA-256 of every file it left. A
    stage's folder belongs to one set of inputs from its first results on: another set is refused,
    and the message names the keys that differ.
    """

    def __init__(self, path: Path, recipe: dict[str, Any], another: str = "name=OTHER"):
        """Open the directory; nothing is written before a stage is claimed.

        Args:
            path: the directory.
            recipe: resolved, JSON-able; kept in the manifest.
            another: what the user types for another directory.
        """
        self.path, self.recipe, self.another = path, recipe, another
        self._manifest_path = path / "manifest.json"

    def folder(self, stage: str) -> Path:
        """The stage's own folder inside the run directory."""
        return self.path / stage

    def record(self, stage: str) -> dict[str, Any]:
        """What the manifest holds of a stage now; empty if it never began."""
        return self._manifest()["stages"].get(stage, {})

    def is_done(self, stage: str, inputs: dict[str, Any]) -> bool:
        """Whether the stage ended well with exactly these inputs and left all that it made."""
        record = self.record(stage)
        if "end" not in record or _unlike(record["inputs"], inputs):
            return False
        return not self.broken(stage)

    def otherwise(self, stage: str, inputs: dict[str, Any]) -> list[str]:
        """In which of these inputs a stage ran otherwise, if it did: "key was X, is Y"."""
        held = self.record(stage).get("inputs", {})
        known = {key: value for key, value in inputs.items() if key in held}
        return [_told(*entry) for entry in _unlike({key: held[key] for key in known}, known)]

    def broken(self, stage: str) -> dict[str, str]:
        """The files a finished stage left that are not as it left them: name to what is wrong."""
        found = {}
        for name, (size, digest) in self.record(stage).get("files", {}).items():
            path = self.folder(stage) / name
            if not path.is_file():
                found[name] = "is gone"
            elif path.stat().st_size != size or file_hash(path) != digest:
                found[name] = "is not as it was written"
        return found

    def claim(
        self,
        stage: str,
        inputs: dict[str, Any],
        *,
        results: Sequence[str] = ("**/*",),
        keyed: Collection[str] = (),
        free: Collection[str] = (),
        **more: Any,
    ) -> list[str]:
        """Take the stage's folder for these inputs (JSON-able, nested).

        A folder that was begun with other inputs and holds no result is emptied and taken.

        Args:
            stage: the stage.
            inputs: what its results depend on.
            results: globs below its folder, which belongs to its inputs from the first file on.
            keyed: names below its folder that say by content what they hold, and stay.
            free: input keys, with all below them ("compare.judge"), on which only a part of its
                files depends, which the stage sees to itself.
            more: further entries of its record.

        Returns:
            The keys, all of them free, in which the folder's inputs were others.

        Raises:
            UserError: the folder holds results of other inputs, or cannot be written.
        """
        folder, record = self.folder(stage), self.record(stage)
        unlike = _unlike(record.get("inputs", inputs), inputs)
        below = tuple(f"{key}." for key in free)
        bound = [entry for entry in unlike if not f"{entry[0]}.".startswith(below)]
        made = (_top(path, folder) for path in self.results(stage, results))
        if bound and any(name not in keyed for name in made):
            told = "; ".join(_told(*entry) for entry in bound[:3])
            again = f"rm -r {shlex.quote(str(folder))}"
            raise UserError(
                f"belongs to another recipe: {told}",
                where=str(folder),
                mend=f"to start it again, `{again}` and the same command; "
                f"to keep it, {self.another}",
            )
        if bound:
            _empty(folder, keyed)
        start = _now() if bound else record.get("start", _now())
        self._update(stage, {"inputs": inputs, "start": start, **more})
        return [key for key, _, _ in unlike if not bound]

    def results(self, stage: str, globs: Sequence[str]) -> dict[Path, tuple[int, int]]:
        """The files that match globs below a stage's folder: size, and time of change in ns."""
        folder, found = self.folder(stage), {}
        for path in {path for pattern in globs for path in folder.glob(pattern)}:
            if path.is_file() and not path.name.startswith("."):
                stat = path.stat()
                found[path] = stat.st_size, stat.st_mtime_ns
        return found

    def give_back(self, stage: str, record: dict[str, Any]) -> None:
        """Undo a claim: a stage's record as it was before; an empty one, if it had none."""
        self._update(stage, record)

    def finish(
        self, stage: str, inputs: dict[str, Any], scratch: Collection[str] = (), **more: Any
    ) -> None:
        """Record that the stage ended well, and the files that it left.

        Args:
            stage: the stage.
            inputs: what its results depend on.
            scratch: names below its folder that are no part of its results and may go.
            more: further entries of its record.
        """
        folder, files = self.folder(stage), {}
        for path in sorted(folder.rglob("*")):
            parts = path.relative_to(folder).parts
            hidden = any(part.startswith(".") for part in parts)
            if path.is_file() and not hidden and parts[0] not in scratch:
                files["/".join(parts)] = [path.stat().st_size, file_hash(path)]
        ended = {"inputs": inputs, "end": _now(), **more, "files": files}
        self._update(stage, self.record(stage) | ended)

    def discard(self, stage: str, names: Iterable[str]) -> None:
        """Delete broken files, so that the stage makes them again; appended rows stay."""
        for name in names:
            if not name.endswith(APPENDED):
                (self.folder(stage) / name).unlink(missing_ok=True)

    @contextmanager
    def stage(self, name: str, inputs: dict[str, Any]) -> Iterator[Path]:
        """Claim a stage, yield its folder, and record its time, memory and files at the end."""
        self.claim(name, inputs)
        began = time.perf_counter()
        self.folder(name).mkdir(parents=True, exist_ok=True)
        yield self.folder(name)
        self.finish(name, inputs, **spent(began))

    def _manifest(self) -> dict[str, Any]:
        if not self._manifest_path.exists():
            return {"schema": "ablate2tune/manifest/1", "stages": {}}
        held = read_json(self._manifest_path)
        if not isinstance(held, dict) or not isinstance(held.get("stages"), dict):
            raise UserError(
                "is no manifest of a run",
                where=str(self._manifest_path),
                mend="delete it: what the stages left is then checked and kept",
            )
        return held

    def _update(self, stage: str, record: dict[str, Any]) -> None:
        """Put one stage's record into the manifest, which other stages may be writing to."""
        with short_lock(self.path / ".manifest.lock"):
            manifest = self._manifest()
            manifest["recipe"] = self.recipe
            manifest["environment"] = environment()
            manifest["stages"][stage] = json.loads(json.dumps(record, default=str))
            if not record:
                del manifest["stages"][stage]
            write_json(self._manifest_path, manifest)


def spent(began: float) -> dict[str, Any]:
    """Seconds since `time.perf_counter()` was `began`, and peak memory in GB."""
    seconds = round(time.perf_counter() - began, 1)
    return {"seconds": seconds, "peak_memory_gb": round(peak_memory_gb(), 3)}


def _unlike(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Keys that differ; what was not, or is not, here to be hashed fits any content."""
    return [entry for entry in differing(old, new) if NOT_HERE not in entry[1:]]


def _told(key: str, was: Any, now: Any) -> str:
    if str(was).startswith(PREFIX) and str(now).startswith(PREFIX):
        return f"{key} has other content than before"
    return f"{key} was {was!r}, is {now!r}"


def _empty(folder: Path, keyed: Collection[str]) -> None:
    for path in folder.iterdir() if folder.exists() else ():
        if path.name.startswith(".") or path.name in keyed:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _top(path: Path, folder: Path) -> str:
    return path.relative_to(folder).parts[0]


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
