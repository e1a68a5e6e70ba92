"""A rendered data set in other tools' formats: WebDataset shards, COCO JSON, an HTML gallery."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from ablate2tune.errors import UserError, did_you_mean
from ablate2tune.files import read_json, unwritable, write_text
from ablate2tune.scenes.dataset.caption_rates import FILE as RATES_FILE
from ablate2tune.scenes.dataset.gallery import write_gallery
from ablate2tune.scenes.dataset.records import MEND, SceneRecord, load_masks, read_dataset
from ablate2tune.scenes.dataset.shards import Member, shards_in

FORMATS = ("webdataset", "coco", "gallery")
SHARD_SCENES = 1000
"""Scenes in one WebDataset shard."""


def export(folder: Path, form: str, out: Path | None = None) -> Path:
    """Write a data set in another format; returns the file or folder written.

    By default COCO JSON and the gallery lie in the data set's folder, shards in NAME-webdataset
    beside it, since readers of an imagefolder take archives below it for pictures of its own.

    Raises:
        UserError: the format is unknown, the data set missing or damaged, or shards would lie in
            the data set's own folder.
    """
    if form not in FORMATS:
        mend = did_you_mean(form, FORMATS)
        raise UserError(f"no data format {form!r}", where=f"--format {form}", mend=mend)
    beside = folder.with_name(f"{folder.resolve().name}-webdataset")
    if form == "webdataset" and out and out.resolve().is_relative_to(folder.resolve()):
        raise UserError(
            "shards in the data set's own folder would be read as pictures of it "
            '(load_dataset("imagefolder"))',
            where=f"--out {out}",
            mend=f"leave --out away ({beside}) or name a folder outside {folder}",
        )
    records = read_dataset(folder)
    try:
        if form == "webdataset":
            return write_webdataset(records, out or beside)
        if form == "coco":
            return write_coco(records, out or folder / "coco.json")
        return write_gallery(records, out or folder / "gallery.html")
    except OSError as error:
        raise unwritable(out or folder, error) from error


def write_webdataset(
    records: list[SceneRecord], folder: Path, per_shard: int = SHARD_SCENES
) -> Path:
    """Tar files `SPLIT-000000.tar`: `ID.png`, `ID.txt` (caption), `ID.json` (sidecar),
    `ID.mask.png` and `ID.depth.png`.

    The members of a sample lie side by side and carry no times, so equal sets give equal bytes.
    The set's `dataset.json`, which holds its caption rates, is laid beside the shards.

    Raises:
        UserError: a file of a scene is missing, or the folder holds shards of another set, which
            would be read with these.
    """
    planned: dict[Path, list[SceneRecord]] = {}
    for split in sorted({record.split for record in records}):
        rows = [record for record in records if record.split == split]
        for number, start in enumerate(range(0, len(rows), per_shard)):
            planned[folder / f"{split}-{number:06d}.tar"] = rows[start : start + per_shard]
    if others := [path for path in shards_in(folder) if path not in planned]:
        raise UserError(
            f"holds shards of another set, {others[0].name} first",
            where=str(folder),
            mend="delete them, or name another folder with --out",
        )
    folder.mkdir(parents=True, exist_ok=True)
    for note in {record.folder / RATES_FILE for record in records}:
        if note.exists() and note.parent != folder:
            (folder / RATES_FILE).write_bytes(note.read_bytes())
    for path, rows in planned.items():
        temporary = path.with_suffix(".tar.tmp")
        with tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as shard:
            for record in rows:
                members = {
                    "png": _bytes(record.image_path),
                    "txt": record.text.encode(),
                    "json": _bytes(record.sidecar_path),
                    "mask.png": _bytes(record.mask_path),
                    "depth.png": _bytes(record.depth_path),
                }
                for ending, data in members.items():
                    info = tarfile.TarInfo(f"{record.scene_id}.{ending}")
                    info.size = len(data)
                    shard.addfile(info, io.BytesIO(data))
        temporary.replace(path)
    return folder


def _bytes(path: Path | Member) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UserError("no such file", where=str(path), mend=MEND) from error


def write_coco(records: list[SceneRecord], path: Path) -> Path:
    """COCO instances: visible boxes and masks (uncompressed run lengths, columns first).

    Each annotation also holds `amodal_bbox`, the whole object's box, hidden parts included, and
    `visible_fraction`. Boxes are x, y, width, height in pixels. `licenses` lists the licences of
    the user's own files that pictures may show.
    """
    sidecars = [record.sidecar() for record in records]
    names = sorted({o["kind"] for note in sidecars for o in note["objects"].values()})
    categories = {name: number for number, name in enumerate(names, start=1)}
    images, annotations = [], []
    for number, (record, note) in enumerate(zip(records, sidecars, strict=True), start=1):
        (mask,) = load_masks([record])
        height, width = mask.shape
        images.append({"id": number, "file_name": record.file_name, "width": width,
                       "height": height, "caption": record.text})  # fmt: skip
        for label, made in note["objects"].items():
            visible = mask == note["mask_values"][label]
            if not visible.any():
                continue
            annotations.append({
                "id": len(annotations) + 1,
                "image_id": number,
                "category_id": categories[made["kind"]],
                "role": label,
                "colour": made["colour"],
                "iscrowd": 0,
                "area": int(visible.sum()),
                "bbox": _box(visible),
                "segmentation": {"size": [height, width], "counts": run_lengths(visible)},
                "amodal_bbox": _pixels(made["box"], width, height),
                "visible_fraction": made["visible"],
            })  # fmt: skip
    content: dict[str, Any] = {
        "info": {"description": "rendered by ablate2tune"},
        "licenses": _licences({record.folder for record in records}),
        "images": images,
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
        "annotations": annotations,
    }
    write_text(path, json.dumps(content) + "\n")
    return path


def _licences(folders: set[Path]) -> list[dict[str, Any]]:
    found = []
    for note in sorted(folder / RATES_FILE for folder in folders):
        files = read_json(note).get("files", {}) if note.exists() else {}
        for name, terms in sorted(files.items()):
            row = {"name": terms["licence"], "url": terms.get("source", ""), "file": name}
            found.append({"id": len(found) + 1, **row})
    return found


def run_lengths(mask: np.ndarray) -> list[int]:
    """COCO's uncompressed run lengths of a boolean (height, width) mask: off, on, off, ...

    >>> run_lengths(np.array([[0, 1], [1, 1]], bool))  # read down the columns: 0 1 1 1
    [1, 3]
    """
    flat = np.concatenate([[False], mask.T.ravel()])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    return [int(n) for n in np.diff(np.concatenate([[0], edges, [mask.size]]))]


def _box(mask: np.ndarray) -> list[int]:
    ys, xs = np.nonzero(mask)
    x, y = int(xs.min()), int(ys.min())
    return [x, y, int(xs.max()) + 1 - x, int(ys.max()) + 1 - y]


def _pixels(box: list[float], width: int, height: int) -> list[float]:
    left, top, right, bottom = box
    return [left * width, top * height, (right - left) * width, (bottom - top) * height]
