"""A folder of (image, caption) pairs, in the imagefolder form that `datasets` loads."""

from dataclasses import dataclass
from pathlib import Path

from ablate2tune.disk.picture_reading import read_picture
from ablate2tune.disk.user_rows import UserRow, read_user_rows
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
        UserError: the folder or its metadata.jsonl is missing, a row is not as it should be, a
            picture is missing or cannot be read, or there are fewer pairs than `count` or two.
    """
    metadata = folder / "metadata.jsonl"
    if not metadata.is_file():
        raise UserError("no such file", where=f"{WHERE}: {metadata}", mend=MEND)
    pairs = [_pair(folder, row, index) for index, row in enumerate(read_user_rows(metadata))]
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


def _pair(folder: Path, row: UserRow, index: int) -> Pair:
    return Pair(index, row.text("text", MEND), row.path("file_name", folder, MEND))
