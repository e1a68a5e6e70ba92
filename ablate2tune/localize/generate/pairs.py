"""A folder of (image, caption) pairs, in the imagefolder form that `datasets` loads."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ablate2tune import runs
from ablate2tune.errors import UserError
from ablate2tune.seeding import numpy_generator

WHERE = "localize.generate.pairs"
MEND = "a metadata.jsonl with file_name and text in each row lies beside the pictures"


@dataclass(frozen=True)
class Pair:
    """A picture and what it shows."""

    index: int
    """Its row in metadata.jsonl, from 0."""
    text: str
    path: Path


def read_pairs(folder: Path, count: int | None, seed: int) -> list[Pair]:
    """The pairs of a folder, or `count` of them drawn by seed, in the order of their rows.

    Raises:
        UserError: the folder or its metadata.jsonl is missing, a row lacks a column, a caption is
            empty, a picture is missing or damaged, or there are fewer pairs than `count` or two.
    """
    metadata = folder / "metadata.jsonl"
    if not metadata.is_file():
        raise UserError("no such file", where=f"{WHERE}: {metadata}", mend=MEND)
    pairs = [_pair(folder, row, index) for index, row in enumerate(runs.read_jsonl(metadata))]
    wanted = len(pairs) if count is None else count
    if wanted > len(pairs) or len(pairs) < 2:
        raise UserError(
            f"holds {len(pairs)} pairs, {max(2, wanted)} are needed",
            where=str(metadata),
            mend="lower localize.generate.pair_count or add pairs",
        )
    drawn = numpy_generator(seed, "caption pairs").permutation(len(pairs))[:wanted]
    chosen = [pairs[int(place)] for place in sorted(drawn)]
    for pair in chosen:
        read_picture(pair.path)
    return chosen


def read_picture(path: Path) -> np.ndarray:
    """A picture as uint8 (height, width, 3).

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except FileNotFoundError as error:
        raise UserError("no such picture", where=str(path), mend=MEND) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError("the picture is damaged", where=str(path), mend="fetch it again") from error


def _pair(folder: Path, row: dict, index: int) -> Pair:
    where = f"{folder / 'metadata.jsonl'}:{index + 1}"
    for column in ("file_name", "text"):
        if not isinstance(row.get(column), str):
            raise UserError(f"{column!r} is missing or no text", where=where, mend=MEND)
    if not row["text"].strip():
        raise UserError("the caption is empty", where=where, mend="write a caption")
    return Pair(index, row["text"], folder / row["file_name"])
