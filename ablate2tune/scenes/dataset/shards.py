"""Reading WebDataset shards: tar files in which a sample's files share their name up to a dot."""

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate2tune.errors import UserError

MEND = "write the shards again: `ablate2tune export-data RECIPE --format webdataset`"


@dataclass(frozen=True)
class Member:
    """One file inside a shard; it is read where it lies, nothing is unpacked."""

    shard: Path
    name: str
    offset: int
    size: int

    def __str__(self) -> str:
        return f"{self.shard}/{self.name}"

    def read_bytes(self) -> bytes:
        """The content.

        Raises:
            OSError: the shard cannot be read, or has become shorter.
        """
        with open(self.shard, "rb") as file:
            file.seek(self.offset)
            data = file.read(self.size)
        if len(data) < self.size:
            raise OSError(f"{self} is cut short")
        return data

    def read_text(self, encoding: str = "utf-8") -> str:
        """The content as text."""
        return self.read_bytes().decode(encoding)


Sample = dict[str, Member]
"""Members by what follows the first dot of their names: "png", "txt", "json", "mask.png"."""


def shards_in(folder: Path) -> list[Path]:
    """The shards of a folder, by name."""
    return sorted(folder.glob("*.tar"))


def read_shard(shard: Path) -> Iterator[tuple[str, Sample]]:
    """Key and members of every sample; the members of one lie side by side.

    Raises:
        UserError: the file is damaged, or a sample's members are apart.
    """
    seen: set[str] = set()
    key, sample = "", Sample()
    try:
        with tarfile.open(shard, "r:") as tar:
            for info in tar:
                if not info.isfile():
                    continue
                name, _, ending = info.name.partition(".")
                if name != key:
                    if sample:
                        yield key, sample
                    if name in seen:
                        raise UserError(
                            f"the files of sample {name!r} do not lie side by side",
                            where=str(shard),
                            mend=MEND,
                        )
                    seen.add(name)
                    key, sample = name, Sample()
                sample[ending] = Member(shard, info.name, info.offset_data, info.size)
    except (tarfile.TarError, OSError) as error:
        raise UserError(f"the shard is damaged ({error})", where=str(shard), mend=MEND) from error
    if sample:
        yield key, sample


def shard_rows(folder: Path) -> list[tuple[str, dict[str, Any], Sample]]:
    """Where each scene of a folder of shards lies, its row of metadata and its members.

    The rows are sorted by scene id, which is the order of `metadata.jsonl`, whatever the shards'
    names and sizes.

    Raises:
        UserError: a shard is damaged, or a sample has no picture or no sidecar with a record.
    """
    rows = []
    for shard in shards_in(folder):
        for key, sample in read_shard(shard):
            where = f"{shard}/{key}"
            absent = [ending for ending in ("png", "json") if ending not in sample]
            if absent:
                raise UserError(f"no {absent[0]} in the sample", where=where, mend=MEND)
            try:
                record = json.loads(sample["json"].read_text())["record"]
                rows.append((where, dict(record), sample))
            except (ValueError, KeyError, TypeError, OSError) as error:
                raise UserError("its json is not a scene's", where=where, mend=MEND) from error
    return sorted(rows, key=lambda row: str(row[1].get("scene_id")))
