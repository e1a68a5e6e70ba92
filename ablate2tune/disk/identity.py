"""What a model, a judge or a set of pictures is: one hash of its content.

Files of a mebibyte or more are read once: what was found is remembered in the user's cache folder
(`$ABLATE2TUNE_CACHE`, or `ablate2tune` in `$XDG_CACHE_HOME` or `~/.cache`) by device, inode, size
and the times of the last change, so that weights of tens of gigabytes cost seconds once and nothing
later.
"""

import functools
import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from ablate2tune.errors import UserError
from ablate2tune.files import write_json

NOT_HERE = "not here yet"
"""The identity of a hub name whose files are not, or not all, in the local cache."""
PREFIX = "content "
REMEMBERED = 2**20
"""Files of so many bytes and more are remembered."""
MOST = 20_000
"""Files remembered at most; the oldest are forgotten first."""
SETTLED = 2.0
"""Seconds since a file's last change, from which on its times tell the next change."""
WEIGHTS = (".safetensors", ".bin", ".ckpt", ".pt", ".pth")
UNREAD = (".md",)
"""Endings of files in a model's folder that nothing loads; hidden files are left out as well."""


def identity(held: Path | str) -> str:
    """Hash of what a file, a folder or a hub name ("owner/name") holds.

    Links are followed; names below a folder count, its own does not, and neither do hidden files
    and .md files. A hub name counts by its snapshot in the local cache, so that it equals a local
    copy of the same files.

    Returns:
        "content" and 16 hex digits; or `NOT_HERE` for what is no file and has no whole snapshot.

    Raises:
        UserError: a file cannot be read.
    """
    path = Path(held)
    if not path.exists():
        snapshot = _snapshot(str(held))
        if snapshot is None:
            return NOT_HERE
        path = snapshot
    if path.is_file():
        return PREFIX + file_hash(path)[:16]
    return identity_of(_files(path), path)


def identity_of(files: Iterable[Path], root: Path) -> str:
    """Hash of the names below `root`, which count, and the contents of these files.

    Raises:
        UserError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.relative_to(root).as_posix().encode() + b"\0")
        digest.update(file_hash(file).encode())
    return PREFIX + digest.hexdigest()[:16]


def file_hash(path: Path) -> str:
    """SHA-256 of a file's content, as 64 hex digits.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        real = path.resolve()
        if real.parent.name == "blobs" and len(real.name) == 64:
            return real.name  # the hub's cache names large files by their SHA-256
        stat = real.stat()
        if stat.st_size < REMEMBERED:
            return hashlib.sha256(real.read_bytes()).hexdigest()
        key = ":".join(
            str(value)
            for value in (
                stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns,
            )
        )  # fmt: skip
        memory = _memory()
        if key not in memory:
            with open(real, "rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if time.time() - max(stat.st_mtime, stat.st_ctime) < SETTLED:
                return found
            memory[key] = found
            _remember(memory)
        return memory[key]
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=str(path)) from error


def _files(folder: Path) -> Iterator[Path]:
    """All files that count, through links to folders as well."""
    seen: set[str] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:  # a link to a folder above itself
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and not name.endswith(UNREAD):
                yield Path(parent, name)


def _snapshot(name: str) -> Path | None:
    """The whole snapshot of a hub name in the local cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, HfHubHTTPError, OSError):
        return None
    files = list(_files(folder))
    if not any(file.suffix in WEIGHTS and file.exists() for file in files):
        return None
    if any((folder.parent.parent / "blobs").glob("*.incomplete")):
        return None
    for index in (file for file in files if file.name.endswith(".index.json")):
        try:
            shards = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        except (ValueError, KeyError):
            return None
        if not all((index.parent / shard).exists() for shard in set(shards)):
            return None
    return folder


def _place() -> Path:
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    own = os.environ.get("ABLATE2TUNE_CACHE") or Path(caches) / "ablate2tune"
    return Path(own) / "hashes.json"


@functools.cache
def _memory() -> dict[str, str]:
    try:
        return dict(json.loads(_place().read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _remember(memory: dict[str, str]) -> None:
    for key in list(memory)[:-MOST]:
        del memory[key]
    with suppress(UserError):  # a home that cannot be written costs a second reading, no more
        write_json(_place(), memory)
