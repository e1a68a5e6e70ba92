"""One process at a time in a folder."""

import errno
import fcntl
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ablate2tune import files
from ablate2tune.errors import HeldError

NAME = ".lock"
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""What a file system says that has no locks (some network and FUSE mounts)."""


@contextmanager
def lock(
    folder: Path,
    doing: str = "works in it",
    on_message: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """Hold `folder/.lock`, which names this process and machine, and remove it at the end.

    The system drops the lock of a process that died, so one that was left behind is taken over. On
    a file system without locks nothing is held, and a message says so.

    Args:
        folder: made if it is not there.
        doing: what the holder does, for the message to another process ("is rendering into it").
        on_message: told where there are no locks.

    Raises:
        HeldError: another process holds it.
        UserError: the folder cannot be written.
    """
    path = folder / NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = _take(path, doing)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise files.unwritable(folder, error) from error
        held = None
        if on_message:
            on_message(f"{folder} is on a file system without locks: run one process in it only")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        if held is not None:
            os.close(held)


@contextmanager
def short_lock(path: Path) -> Iterator[None]:
    """Wait for a lock file and hold it, for the moment that a file beside it is changed.

    On a file system without locks nothing is held.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise files.unwritable(path, error) from error
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        yield
    finally:
        os.close(held)


def _take(path: Path, doing: str) -> int:
    while True:
        held = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.read(held, 200).decode("utf-8", "replace").strip()
            os.close(held)
            raise HeldError(
                f"process {owner} {doing}" if owner else f"another process {doing}",
                where=str(path.parent),
                mend="wait for it, or choose another folder",
            ) from error
        except OSError:
            os.close(held)
            raise
        if _is_still(path, held):
            os.ftruncate(held, 0)
            os.write(held, f"{os.getpid()} on {platform.node()}\n".encode())
            return held
        os.close(held)  # its owner removed it between our opening and locking it


def _is_still(path: Path, held: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(held))
    except FileNotFoundError:
        return False
