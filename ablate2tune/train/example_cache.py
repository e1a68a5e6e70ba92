"""Latents and text embeddings, encoded once and kept by example, never by step.

They lie in files of `SHARD` rows, which are written one after the other and read row by row, so
that neither takes more memory than one file, however large the set is.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ablate2tune import files
from ablate2tune.disk.identity import identity
from ablate2tune.disk.state_file import save_state
from ablate2tune.errors import UserError
from ablate2tune.models import Conditioning, Denoiser
from ablate2tune.scenes.dataset.records import SceneRecord
from ablate2tune.train.lessons.loss_masks import latent_masks, mask_of
from ablate2tune.train.lessons.user_pictures import load_pictures
from ablate2tune.train.size_buckets import Size, at_size

SHARD = 64
"""Pictures or captions that are encoded together and share a file."""
LATENTS, MASKS = "latents", "masks"
"""What the files of pictures hold: masks only where one has any."""
ENCODES = {"dtype", "height", "width", "max_sequence_length"}
"""Settings of the model on which encodings depend, beside its weights."""


class ExampleCache:
    """What the denoiser needs of each example, read from the disk when it is asked for."""

    def __init__(self, folder: Path):
        """Open what `encode_examples` wrote.

        Raises:
            UserError: the index or a file of rows is missing or damaged.
        """
        self._folder = folder
        index = files.read_json(folder / "index.json")
        self._rows = {caption: row for row, caption in enumerate(index["captions"])}
        self._sizes: list[Size] = [(rows, columns) for rows, columns in index.get("sizes", [])]
        self._places = {e: row for _, those in _by_size(self._sizes) for row, e in enumerate(those)}
        self._shapes: dict[Size | None, torch.Size] = {}
        self._open: dict[Path, Any] = {}

    def size_of(self, example: int) -> Size | None:
        """The size of an example's picture; None: all are of the model's own."""
        return self._sizes[example] if self._sizes else None

    def together(self, examples: Sequence[int]) -> list[list[int]]:
        """The places of examples of one size each: the rows of a forward pass."""
        return [those for _, those in _by_size([self.size_of(example) for example in examples])]

    def latent_shape(self, example: int) -> torch.Size:
        """Of an example's latents."""
        size = self.size_of(example)
        if size not in self._shapes:
            self._shapes[size] = self.latents([example]).shape[1:]
        return self._shapes[size]

    def latents(self, examples: Sequence[int]) -> Tensor:
        """The clean latents of examples of one size, (examples, ...), numbered as the records."""
        return self._of_pictures(examples, LATENTS)[LATENTS]

    def masks(self, examples: Sequence[int]) -> Tensor | None:
        """Where the loss of examples of one size counts (`latent_masks`).

        None: no picture of the set has a mask.
        """
        return self._of_pictures(examples, MASKS).get(MASKS)

    def _of_pictures(self, examples: Sequence[int], name: str) -> dict[str, Tensor]:
        kind = _kind(self.size_of(examples[0]))
        return self._read(kind, [self._places.get(e, e) for e in examples], [name])

    def captions(self, captions: Sequence[str]) -> Conditioning:
        """The conditioning of these captions, one row each."""
        return Conditioning.of(self._read("captions", [self._rows[text] for text in captions]))

    def _read(self, kind: str, rows: Sequence[int], names: Sequence[str] = ()) -> dict[str, Tensor]:
        """Rows of the tensors of these names, of which a file may lack some; of all by default."""
        found: dict[str, list[Tensor]] = {}
        for row in rows:
            file = self._file(_shard(self._folder, kind, row // SHARD))
            place = row % SHARD
            for name in file.keys():  # noqa: SIM118
                if names and name not in names:
                    continue
                found.setdefault(name, []).append(file.get_slice(name)[place : place + 1])
        return {name: torch.cat(parts) for name, parts in found.items()}

    def _file(self, path: Path) -> Any:
        if path not in self._open:
            if not _is_whole(path):
                raise UserError(
                    "the cache is damaged", where=str(path), mend="delete it to encode it again"
                )
            self._open[path] = safe_open(path, framework="pt")
        return self._open[path]


def encode_examples(
    denoiser: Denoiser,
    records: Sequence[SceneRecord],
    captions: Sequence[str],
    data: str,
    folder: Path,
    sizes: Sequence[Size] = (),
) -> None:
    """Encode pictures and captions into files of `SHARD` rows, but for those that are there.

    The latents are in the order of the records; captions that come again are encoded once. The
    files belong to `data`, the `data_key` of both. `sizes` are the records', where they differ.

    Raises:
        UserError: a file cannot be written.
    """
    distinct, index = list(dict.fromkeys(captions)), folder / "index.json"
    key = encodings_key(denoiser, data)
    if _key_in(index) != key:
        for path in folder.glob("*.safetensors"):
            path.unlink()
        files.write_json(
            index, {"key": key, "captions": distinct, **({"sizes": sizes} if sizes else {})}
        )
    masked = any(map(mask_of, records))
    for size, those in _by_size(sizes or [None] * len(records)):
        for path, rows in _missing(folder, _kind(size), len(those)):
            with at_size(denoiser, size):
                some = [records[place] for place in those[rows]]
                save_state(path, _encoded(denoiser, some, masked), {})
    for path, rows in _missing(folder, "captions", len(distinct)):
        # Some families pad every prompt to the longest one, of all and not of a shard alone.
        save_state(path, denoiser.encode_prompts(distinct[rows], among=distinct).arguments(), {})


def _encoded(denoiser: Denoiser, records: Sequence[SceneRecord], masked: bool) -> dict[str, Tensor]:
    """What a file of pictures of one size holds."""
    own = denoiser.config.height, denoiser.config.width
    latents = denoiser.encode_images(load_pictures(records, *own))
    masks = {MASKS: latent_masks(records, denoiser, latents)} if masked else {}
    return {LATENTS: latents, **masks}


def encodings_key(denoiser: Denoiser, data: str) -> str:
    """Hash of what encodings follow from: the model's encoders and `data`, a `data_key`."""
    settings = denoiser.config.model_dump(include=ENCODES)
    return files.content_hash(data, identity(denoiser.config.path), settings)


def data_key(
    records: Sequence[SceneRecord], captions: Sequence[str], sizes: Sequence[Size] = ()
) -> str:
    """Hash of the pictures and captions, and of masks, and of sizes where they differ.

    Raises:
        UserError: a picture cannot be read.
    """
    try:
        pictures = [_picture_key(record) for record in records]
    except OSError as error:
        raise UserError(
            f"cannot read the picture: {error.strerror}",
            where=str(error.filename),
            mend="render the data set again",
        ) from error
    return files.content_hash(pictures, list(captions), *([list(sizes)] if sizes else []))


def _picture_key(record: SceneRecord) -> str:
    key = hashlib.sha256(record.image_path.read_bytes()).hexdigest() + " mirrored" * record.mirrored
    mask = mask_of(record)
    return key if mask is None else f"{key} mask {hashlib.sha256(mask.read_bytes()).hexdigest()}"


def _by_size(sizes: Sequence[Size | None]) -> list[tuple[Size | None, list[int]]]:
    """The places of each size, in the order in which sizes come first."""
    found: dict[Size | None, list[int]] = {}
    for place, size in enumerate(sizes):
        found.setdefault(size, []).append(place)
    return list(found.items())


def _kind(size: Size | None) -> str:
    return "latents" if size is None else f"latents-{size[0]}x{size[1]}"


def _missing(folder: Path, kind: str, count: int) -> Iterator[tuple[Path, slice]]:
    """The files that are not there or damaged, with the rows that belong into them."""
    for start in range(0, count, SHARD):
        path = _shard(folder, kind, start // SHARD)
        if not _is_whole(path):
            yield path, slice(start, min(start + SHARD, count))


def _shard(folder: Path, kind: str, number: int) -> Path:
    return folder / f"{kind}-{number:05d}.safetensors"


def _key_in(index: Path) -> str | None:
    """What a cache is of; None where there is none, or its index is damaged."""
    with suppress(UserError):
        told = files.read_json(index)
        return told.get("key") if isinstance(told, dict) else None
    return None


def _is_whole(path: Path) -> bool:
    try:
        with safe_open(path, framework="pt"):
            return True
    except (OSError, SafetensorError):
        return False
