"""Captioned pictures of the user's own, as training sees them: an imagefolder of any sizes.

    {"file_name": "1.jpg", "text": "a red cube to the left of a ball", "foil": "... right of ..."}

in each line of its metadata.jsonl, as `datasets.load_dataset("imagefolder")` reads it; `foil`,
`mask`, `group` and `split` may be left out, and other keys are passed over.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ablate2tune.contrasts.contrast import SPLITS
from ablate2tune.disk.picture_reading import read_picture
from ablate2tune.disk.user_rows import read_user_rows
from ablate2tune.errors import UserError
from ablate2tune.models import Denoiser
from ablate2tune.scenes.dataset.records import SceneRecord, load_images
from ablate2tune.train.size_buckets import Size, bucket_sizes, nearest

FILE = "metadata.jsonl"
MEND = 'write {"file_name": "1.jpg", "text": "..."} in each line of metadata.jsonl'
MASK = "mask"
"""The key of a picture of where the loss counts (`loss_masks`), in rows and among `more`."""
HELD_OUT = 0.1
"""Of the pictures are kept for validation at most."""


def read_user_pictures(folder: Path) -> list[SceneRecord]:
    """The pictures of a folder that training sees, each with no relation.

    Raises:
        UserError: the folder, its metadata.jsonl or a picture is missing or damaged, a row has no
            text or is of an unknown split, a foil says what the text says, or a mask is black or of
            another size than its picture.
    """
    if not folder.is_dir():
        raise UserError("no such folder", where=f"train.data = {folder}")
    records = []
    for number, row in enumerate(read_user_rows(folder / FILE)):
        picture, text = row.path("file_name", folder, MEND), row.text("text", MEND)
        foil = row.text("foil", MEND) if "foil" in row.values else ""
        if foil == text:
            raise UserError(
                "the foil is the text itself", where=row.where, mend="write a false one"
            )
        shape = read_picture(picture).shape
        mask = row.path(MASK, folder, "name the mask's file") if MASK in row.values else None
        if mask is not None:
            _check_mask(mask, shape)
        name = str(row.values["file_name"])
        records.append(
            SceneRecord(
                file_name=name,
                text=text,
                relation="",
                subject="",
                subject_colour="",
                object="",
                object_colour="",
                foil=foil,
                foil_colour="",
                foil_object="",
                pair_text=text,
                scene_id=f"{number:06d}",
                group_id=row.name("group", name),
                seed=0,
                split=row.one_of("split", SPLITS),
                folder=folder,
                more={} if mask is None else {MASK: mask},
            )
        )
    if not records:
        raise UserError("holds no pictures", where=str(folder / FILE), mend=MEND)
    return records


def _check_mask(path: Path, shape: tuple[int, ...]) -> None:
    """See that something of a picture counts."""
    mask = read_picture(path)
    if mask.shape != shape:
        own, theirs = (f"{columns} x {rows}" for rows, columns, _ in (mask.shape, shape))
        raise UserError(
            f"the mask has {own} pixels, and its picture {theirs}",
            where=str(path),
            mend="bring both to one size",
        )
    if not mask.any():
        raise UserError(
            "the mask is black: nothing of the picture would count",
            where=str(path),
            mend="paint white what counts, or leave the mask out",
        )


def is_users(record: SceneRecord) -> bool:
    """Whether a record is a picture of the user's own."""
    return not record.relation


def fitted(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """A picture scaled until it covers a size, and cropped to it around its centre.

    Args:
        picture: uint8, (rows, columns, 3).
        height: of the result, in pixels.
        width: of the result.
    """
    rows, columns = picture.shape[:2]
    if (rows, columns) == (height, width):
        return picture
    scale = max(height / rows, width / columns)
    size = max(width, round(columns * scale)), max(height, round(rows * scale))
    scaled = Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return np.asarray(scaled.crop((left, top, left + width, top + height)))


def load_pictures(records: Sequence[SceneRecord], height: int, width: int) -> np.ndarray:
    """Scenes as they are, the user's pictures fitted: uint8 (n, height, width, 3)."""
    if not any(map(is_users, records)):
        return load_images(list(records))
    found = []
    for record in records:
        if not is_users(record):
            found.append(load_images([record])[0])
            continue
        picture = fitted(read_picture(record.image_path), height, width)
        found.append(picture[:, ::-1] if record.mirrored else picture)
    return np.stack(found)


def sizes_of(records: Sequence[SceneRecord], denoiser: Denoiser) -> list[Size]:
    """The size that each picture is brought to: scenes to the model's own, the user's to the
    nearest in shape; none where all are of the model's own.
    """
    own = denoiser.config.height, denoiser.config.width
    sizes = bucket_sizes(*own, denoiser.size_multiple)
    found = [nearest(_shape(r), sizes) if is_users(r) else own for r in records]
    return [] if set(found) == {own} else found


def enlarged(records: Sequence[SceneRecord], sizes: Sequence[Size]) -> int:
    """How many pictures are smaller than their sizes, and were enlarged to cover them."""
    shapes = [(_shape(record), size) for record, size in zip(records, sizes, strict=True)]
    return sum(shape[0] < size[0] or shape[1] < size[1] for shape, size in shapes)


def _shape(record: SceneRecord) -> Size:
    rows, columns, _ = read_picture(record.image_path).shape
    return rows, columns
