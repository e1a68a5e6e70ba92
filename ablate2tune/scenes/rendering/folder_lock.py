"""One process at a time in a folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ablate2tune import runs
from ablate2tune.errors import UserError

NAME = ".lock"


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold `folder/.lock`, which carries this process's id, and remove it at the end.

    The system drops the lock of a process that died, so one that was left behind is taken over.

    Raises:
        UserError: another process holds it, or the folder cannot be written.
    """
    path = folder / NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = _take(path)
    except OSError as error:
        raise runs.unwritable(folder, error) from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(held)


def _take(path: Path) -> int:
    while True:
        held = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.read(held, 20).decode("ascii", "replace").strip()
            os.close(held)
            raise UserError(
                f"process {owner} is rendering into it" if owner else "another process renders it",
                where=str(path.parent),
                mend="wait for it, or choose another folder",
            ) from error
        if _is_still(path, held):
            os.ftruncate(held, 0)
            os.write(held, f"{os.getpid()}\n".encode())
            return held
        os.close(held)  # its owner removed it between our opening and locking it


def _is_still(path: Path, held: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(held))
    except FileNotFoundError:
        return False
