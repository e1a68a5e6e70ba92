"""Reading a rendered data set: its rows, images, masks and depth."""

import io
import json
import re
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ablate2tune.disk.identity import identity_of
from ablate2tune.disk.picture_reading import read_picture
from ablate2tune.disk.user_rows import read_user_rows
from ablate2tune.errors import UserError
from ablate2tune.files import read_json
from ablate2tune.scenes.dataset.shards import Member, Sample, shard_rows, shards_in


@dataclass(frozen=True)
class SceneRecord:
    """One row of metadata.jsonl, and where its pictures lie."""

    file_name: str
    text: str
    """The true caption, with the relation."""
    relation: str
    subject: str
    subject_colour: str
    object: str
    object_colour: str
    foil: str
    """The caption with the opposite relation."""
    foil_colour: str
    """The caption with a colour for the subject that the image does not show."""
    foil_object: str
    """The caption with another kind as the subject."""
    pair_text: str
    """The caption without the relation."""
    scene_id: str
    group_id: str
    """Shared by the two scenes in which the objects have exchanged places."""
    seed: int
    split: str
    folder: Path
    more: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """Further columns, such as `text_natural` of natural scenes."""
    members: Sample | None = field(default=None, compare=False, repr=False)
    """The scene's files inside a shard; None: they lie in `folder`."""
    mirrored: bool = field(default=False, compare=False)
    """Seen in a mirror: its pictures are turned when they are loaded."""

    def mirror(self) -> "SceneRecord":
        """The scene seen in a mirror: left and right exchanged, in the picture and in its texts.

        >>> exchange_sides("a cat to the left of a car")
        'a cat to the right of a car'
        """
        texts = {name: exchange_sides(getattr(self, name)) for name in (*CAPTIONS, "relation")}
        more = {k: exchange_sides(v) if isinstance(v, str) else v for k, v in self.more.items()}
        return replace(self, **texts, more=more, mirrored=not self.mirrored)

    @property
    def row(self) -> dict[str, Any]:
        """The whole row of metadata."""
        return {**{column: getattr(self, column) for column in COLUMNS}, **self.more}

    @property
    def image_path(self) -> Path | Member:
        """The RGB image."""
        return self._file("png", self.file_name)

    @property
    def mask_path(self) -> Path | Member:
        """The indexed instance mask."""
        return self._file("mask.png", f"masks/{self.scene_id}.png")

    @property
    def depth_path(self) -> Path | Member:
        """The 16-bit depth map in millimetres."""
        return self._file("depth.png", f"depth/{self.scene_id}.png")

    @property
    def sidecar_path(self) -> Path | Member:
        """Camera, poses, boxes, visibility, relations and their slacks."""
        return self._file("json", f"sidecars/{self.scene_id}.json")

    def sidecar(self) -> dict[str, Any]:
        """The sidecar's content.

        Raises:
            UserError: it is missing or damaged.
        """
        path = self.sidecar_path
        if isinstance(path, Path):
            return read_json(path)
        try:
            return json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise UserError("not valid JSON", where=str(path), mend=MEND) from error

    def _file(self, ending: str, name: str) -> Path | Member:
        if self.members is None:
            return self.folder / name
        if ending not in self.members:
            where = f"{self.folder}/{self.scene_id}"
            raise UserError(f"the shards hold no {ending}", where=where)
        return self.members[ending]


COLUMNS = tuple(
    f.name for f in fields(SceneRecord) if f.name not in ("folder", "more", "members", "mirrored")
)
CAPTIONS = ("text", "foil", "foil_colour", "foil_object", "pair_text")
MEND = "render the data set again: `ablate2tune render-data` completes what is missing"


SIDES = {"left": "right", "right": "left"}


def exchange_sides(text: str) -> str:
    """The text with left for right and right for left."""
    return re.sub(r"\b(left|right)\b", lambda found: SIDES[found[0]], text)


def read_dataset(folder: Path) -> list[SceneRecord]:
    """All scenes of a data set in index order, after checking that every image decodes.

    Args:
        folder: a folder as `render-data` leaves it (imagefolder), or one of WebDataset shards.

    Raises:
        UserError: the folder or its metadata.jsonl is missing or empty, a row lacks a column, a
            caption is empty, two rows have one scene_id, or an image, a sidecar in a shard or a
            shard is missing or damaged.
    """
    if not folder.is_dir():
        raise UserError("no such data set", where=str(folder), mend=MEND)
    records = []
    for where, row, members in _rows(folder):
        absent = [column for column in COLUMNS if column not in row]
        if absent:
            raise UserError(f"no column {absent[0]!r}", where=where, mend=MEND)
        for column in CAPTIONS:
            if not isinstance(row[column], str):
                raise UserError(f"{column!r} is not text", where=where, mend=MEND)
            if not row[column].strip():
                raise UserError(f"empty caption in {column!r}", where=where, mend="write a caption")
        columns = {column: row[column] for column in COLUMNS}
        more = {column: value for column, value in row.items() if column not in COLUMNS}
        records.append(SceneRecord(**columns, folder=folder, more=more, members=members))
    ids: set[str] = set()
    for record in records:
        if record.scene_id in ids:
            raise UserError(
                f"two rows have the scene_id {record.scene_id!r}",
                where=str(folder),
                mend="take one of them out",
            )
        ids.add(record.scene_id)
        _seen(record.image_path)
    return records


def index_files(folder: Path) -> list[Path]:
    """The files that say what a data set holds: metadata.jsonl, or else its shards."""
    metadata = folder / "metadata.jsonl"
    return [metadata] if metadata.exists() else shards_in(folder) or [metadata]


def data_identity(folder: Path) -> str:
    """Hash of a data set: its index and its pictures, or its shards.

    Raises:
        UserError: the folder or its index is missing or empty, or a picture is missing.
    """
    if not folder.is_dir():
        raise UserError("no such data set", where=str(folder), mend=MEND)
    files = index_files(folder)
    if files == [folder / "metadata.jsonl"]:
        files += [folder / row["file_name"] for _, row, _ in _rows(folder) if "file_name" in row]
    for file in files:
        if not file.exists():
            raise UserError("no such picture", where=str(file), mend=MEND)
    return identity_of(files, folder)


def _rows(folder: Path) -> list[tuple[str, dict[str, Any], Sample | None]]:
    """Each scene's place, for messages, its row and, from shards, its members."""
    metadata = folder / "metadata.jsonl"
    if not metadata.exists() and shards_in(folder):
        return list(shard_rows(folder))
    rows = read_user_rows(metadata) if metadata.exists() else []
    if not rows:
        raise UserError("missing or empty", where=str(metadata), mend=MEND)
    for row in rows:
        name = row.values.get("file_name", "")
        if not isinstance(name, str) or Path(name).is_absolute():
            raise UserError(f"file_name {name!r} is no file below {folder}", where=row.where)
    return [(row.where, row.values, None) for row in rows]


def load_images(records: list[SceneRecord]) -> np.ndarray:
    """RGB images, uint8 (n, height, width, 3)."""
    return _stack([(r.image_path, _turned(r, _seen(r.image_path))) for r in records])


def load_masks(records: list[SceneRecord]) -> np.ndarray:
    """Instance masks, uint8 (n, height, width): 0 background, 1 subject, 2 object."""
    return _stack([(r.mask_path, _turned(r, _read(r.mask_path))) for r in records])


def load_depth(records: list[SceneRecord]) -> np.ndarray:
    """Distance along the optical axis in metres, float32 (n, height, width); 0 = no surface."""
    millimetres = _stack([(r.depth_path, _turned(r, _read(r.depth_path))) for r in records])
    return millimetres.astype(np.float32) / 1000


def _seen(path: Path | Member) -> np.ndarray:
    """A picture as `localize` reads it, which may have been replaced by hand."""
    try:
        return read_picture(path)
    except UserError as error:
        raise UserError(error.what, where=error.where, mend=error.mend or MEND) from error


def _read(path: Path | Member) -> np.ndarray:
    return np.asarray(opened(path))


def opened(path: Path | Member) -> Image.Image:
    """A mask or a depth map as its file has it, palette and all.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            image.load()
            return image
    except FileNotFoundError as error:
        raise UserError("no such picture", where=str(path), mend=MEND) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError("the picture is damaged", where=str(path), mend=MEND) from error


def _turned(record: SceneRecord, picture: np.ndarray) -> np.ndarray:
    return picture[:, ::-1] if record.mirrored else picture


def _stack(pictures: list[tuple[Path | Member, np.ndarray]]) -> np.ndarray:
    for path, picture in pictures:
        if picture.shape != pictures[0][1].shape:
            height, width = picture.shape[:2]
            first_height, first_width = pictures[0][1].shape[:2]
            raise UserError(
                f"{width} x {height} pixels, but the first picture has "
                f"{first_width} x {first_height}",
                where=str(path),
            )
    return np.stack([picture for _, picture in pictures])
