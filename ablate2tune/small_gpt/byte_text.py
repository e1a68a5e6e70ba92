"""The text that a small GPT is trained on, as bytes: a file, a folder, or Python's own sources."""

import functools
import os
import sysconfig
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ablate2tune.errors import UserError

VALIDATED = 0.1
"""Share of the text, its end, that is not trained on; as nanoGPT cuts it."""
LEFT_OUT = ("site-packages", "__pycache__", "test", "tests", "idlelib", "lib2to3", "bpy")
"""Folders of the standard library's place that are not read."""


class ByteText(NamedTuple):
    """Two stretches of bytes, uint8."""

    training: np.ndarray
    validation: np.ndarray

    @property
    def unigram(self) -> float:
        """Entropy of the validation text's bytes in nats: what a model that looks at nothing can
        reach at best.
        """
        counts = np.bincount(self.validation, minlength=256)
        shares = counts[counts > 0] / len(self.validation)
        return float(-(shares * np.log(shares)).sum())


@functools.lru_cache(maxsize=4)
def read_text(path: Path | None, megabytes: float, context: int) -> ByteText:
    """The bytes of a file, of a folder's files or of the standard library's sources.

    Raises:
        UserError: there is no such file, it holds zeros as no text does, or it is too short.
    """
    where = f"gpt.text = {path}" if path else "gpt.text"
    root = path or Path(sysconfig.get_paths()["stdlib"])
    if not root.exists():
        raise UserError("no such file or folder", where=where)
    most = int(megabytes * 1e6)
    data = bytearray()
    for file in _sources(root, own=path is None):
        try:
            content = file.read_bytes()
        except OSError as error:
            raise UserError(f"cannot be read ({error.strerror})", where=str(file)) from error
        if b"\0" in content:
            raise UserError("is no text file", where=str(file), mend="name text files alone")
        data += content
        if len(data) >= most:
            break
    text = np.frombuffer(bytes(data[:most]), np.uint8)
    cut = round((1 - VALIDATED) * len(text))
    if min(cut, len(text) - cut) < 2 * (context + 1):
        raise UserError(
            f"{len(text)} bytes are too few for a context of {context}", where=where, mend="more"
        )
    return ByteText(text[:cut], text[cut:])


def _sources(root: Path, own: bool) -> list[Path]:
    if root.is_file():
        return [root]
    found: list[Path] = []
    for parent, folders, names in os.walk(root):
        folders[:] = [x for x in folders if not (own and x in LEFT_OUT) and not x.startswith(".")]
        kept = (name for name in names if not name.startswith("."))
        found += [Path(parent, name) for name in kept if name.endswith(".py") or not own]
    return sorted(found)
