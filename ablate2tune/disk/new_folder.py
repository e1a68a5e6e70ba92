"""New files and folders: refused before any work, whole or not at all, and nothing written over."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from ablate2tune.errors import UserError, reason
from ablate2tune.files import unwritable


def check_writable(out: Path) -> None:
    """Refuse, before any work, a file or folder that could not be made.

    Raises:
        UserError: it is a folder that is there, or what it would lie in is none, or may not be
            written to.
    """
    if out.is_dir():
        raise UserError("is a folder", where=str(out), mend="name a file in it")
    above = next(parent for parent in out.absolute().parents if parent.exists())
    if not above.is_dir():
        raise UserError("is a file, not a folder", where=str(above), mend="choose another place")
    if not os.access(above, os.W_OK | os.X_OK):
        raise UserError(
            "no permission to write into it", where=str(above), mend="choose another place"
        )


def check_new(out: Path, kind: str = "folder") -> None:
    """Refuse, before any work, a place that is taken, or where nothing can be made.

    Raises:
        UserError: for both.
    """
    if out.exists():
        raise UserError(
            "is there already, and nothing is written over it",
            where=f"--out {out}",
            mend=f"name a new {kind}",
        )
    check_writable(out)


@contextmanager
def new_folder(out: Path, replace: bool = False) -> Iterator[Path]:
    """A hidden folder beside `out` to be filled, which becomes `out` where that went well.

    Args:
        out: must not exist.
        replace: it may, and is exchanged at the end.

    Raises:
        UserError: it exists, or cannot be written.
    """
    if not replace:
        check_new(out)
    scratch = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(scratch, ignore_errors=True)  # of a killed run
    try:
        scratch.mkdir(parents=True)
        yield scratch
        if replace:
            shutil.rmtree(out, ignore_errors=True)
        os.replace(scratch, out)
    except OSError as error:
        raise unwritable(out, error) from error
    except SafetensorError as error:  # how it says that a disk is full
        raise UserError(f"cannot write ({reason(error)})", where=str(out)) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
