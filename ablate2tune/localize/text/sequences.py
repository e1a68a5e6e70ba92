"""From files of text to sequences of tokens, equally long, of which each is an example."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ablate2tune.contrasts.contrast import Contrast
from ablate2tune.disk.user_rows import read_user_rows
from ablate2tune.errors import UserError
from ablate2tune.models import LanguageModel

ENOUGH = 16
"""Documents from which on a document is what is drawn and resampled as one; with fewer, each
sequence is."""
UNREAD = (".safetensors", ".bin", ".png", ".jpg", ".zip", ".gz", ".pyc")
SECTION = "localize.perplexity"
"""Whose keys `text` and `length` messages name, unless they are told another section."""


@dataclass(frozen=True)
class Held:
    """The content of an example that is in no file of its own."""

    content: bytes

    def read_bytes(self) -> bytes:
        """The content."""
        return self.content


def documents(path: Path, section: str = SECTION) -> Iterator[tuple[str, str]]:
    """The documents of a file or folder, each with its name, in the order of their names.

    A `.jsonl` file holds a document in the `text` of each line, any other file is one document.

    Raises:
        UserError: there is no such file or folder, it is empty, or a file is no UTF-8 text.
    """
    if not path.exists():
        raise UserError("no such file or folder", where=f"{section}.text = {path}")
    files = [path]
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.is_file())
        kept = [file for file in found if not file.name.startswith(".")]
        files = [file for file in kept if file.suffix not in UNREAD]
    count = 0
    for file in files:
        name = file.relative_to(path).as_posix() if path.is_dir() else file.name
        for place, text in _texts(file):
            if text.strip():
                count += 1
                yield f"{name}{place}", text
    if not count:
        raise UserError("holds no text", where=f"{section}.text = {path}")


def _texts(file: Path) -> Iterator[tuple[str, str]]:
    if file.suffix == ".jsonl":
        for row in read_user_rows(file):
            yield (
                f":{row.where.rpartition(':')[2]}",
                row.text("text", 'write one document a line: {"text": "..."}'),
            )
        return
    try:
        content = file.read_bytes()
        if b"\0" in content:
            raise UserError("is no text file", where=str(file), mend="name text files alone")
        yield "", content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"is not UTF-8 text (byte {error.start})", where=str(file), mend="save it as UTF-8"
        ) from error
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=str(file)) from error


def sequences(
    model: LanguageModel, path: Path, length: int, section: str = SECTION
) -> list[Contrast]:
    """All sequences of `length` tokens of a text, each an example; its payload holds the tokens.

    Documents are cut one after the other without overlap; the last tokens of a document that fill
    no sequence are left out, and a sequence that comes twice counts once. Each begins with what
    the tokenizer begins every text with. With at least `ENOUGH` documents these are the clusters.

    Raises:
        UserError: as for `documents`; no document is as long as a sequence, or a sequence is too
            short for any token beside the beginning.
    """
    beginning = model.beginning
    each = length - len(beginning)
    if each < 2:
        raise UserError(
            f"{length} tokens leave {each} beside the tokens that every text begins with",
            where=f"{section}.length",
            mend="raise it",
        )
    found: dict[bytes, tuple[str, str]] = {}
    longest = 0
    for name, text in documents(path, section):
        tokens = model.encode(text, special=False)
        longest = max(longest, len(tokens))
        for start in range(0, len(tokens) - each + 1, each):
            ids = [*beginning, *tokens[start : start + each]]
            found.setdefault(np.array(ids, np.int64).tobytes(), (name, f"{name}@{start}"))
    if not found:
        raise UserError(
            f"its longest document has {longest} tokens, a sequence has {each}",
            where=f"{section}.text = {path}",
            mend=f"lower {section}.length, or join documents",
        )
    by_document = len({name for name, _ in found.values()}) >= ENOUGH
    return [
        Contrast(
            id=place,
            cluster=name if by_document else place,
            payload=Held(content),
            texts={"true": place},
        )
        for content, (name, place) in found.items()
    ]


def token_rows(examples: Sequence[Contrast]) -> list[list[int]]:
    """The tokens of examples that `sequences` made."""
    return [np.frombuffer(e.payload.read_bytes(), np.int64).tolist() for e in examples]
