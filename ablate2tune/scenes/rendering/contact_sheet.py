"""One picture of every asset: its variants, poses and colours side by side."""

import io
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from ablate2tune import files
from ablate2tune.errors import UserError
from ablate2tune.progress import Progress
from ablate2tune.scenes.assets.asset_catalogue import catalogue, find_asset
from ablate2tune.scenes.assets.user_assets import user_assets
from ablate2tune.scenes.rendering.worker_pool import WorkerPool

PER_ROW = 3
"""Assets in one row of the sheet."""
SHOWN = 4
"""Pictures of each asset."""
LABEL = 20
"""Height of the line above an asset's pictures (pixels)."""
YAWS = (28.0, -32.0, 40.0, -20.0)
"""Turns of the objects; they face the camera at 0 (degrees)."""
TIMEOUT = 300.0


def portraits(name: str, size: int, samples: int, folder: Path | None = None) -> list[dict]:
    """What is rendered of an asset: its variants, with poses and colours taken in turn."""
    asset = find_asset(name, folder)
    variants = list(asset.variants)
    return [
        {
            "kind": name,
            "variant": variants[k % len(variants)],
            "pose": asset.poses[k % len(asset.poses)],
            "colour": asset.colours[(k * 3 + k // 3) % len(asset.colours)],
            "yaw": YAWS[k % len(YAWS)],
            "size": size,
            "samples": samples,
        }
        for k in range(SHOWN)
    ]


def contact_sheet(
    path: Path,
    *,
    names: list[str] | None = None,
    folder: Path | None = None,
    size: int = 128,
    samples: int = 8,
    blender: str | None = None,
    workers: int | None = None,
    on_progress: Progress | None = None,
) -> list[str]:
    """Render the sheet into `path`; returns the assets shown.

    Args:
        path: a PNG file.
        names: the assets to show, all by default.
        folder: further asset files.
        size: width and height of each picture (pixels).
        samples: Cycles samples per pixel.
        blender: a Blender executable, or None to look for one.
        workers: Blender processes, one per core by default.
        on_progress: called with (pictures done, pictures in all).

    Raises:
        UserError: an asset is unknown, Blender is missing, or the file cannot be written.
    """
    form = sheet_format(path)
    shown = sorted(catalogue(folder)) if names is None else names
    models = {name: model.job() for name, model in user_assets(folder).models.items()}
    specs = [spec for name in shown for spec in portraits(name, size, samples, folder)]
    with (
        tempfile.TemporaryDirectory() as scratch,
        WorkerPool(blender, workers, TIMEOUT, folder) as pool,
    ):
        jobs: list[dict[str, Any]] = [
            {
                "portrait": spec,
                "path": str(Path(scratch) / f"{k}.png"),
                "folder": scratch,
                "models": models,
            }
            for k, spec in enumerate(specs)
        ]
        futures = [pool.submit(pool.ask, job) for job in jobs]
        for done, future in enumerate(futures, start=1):
            future.result()
            if on_progress:
                on_progress(done, len(futures))
        sheet = _assembled(shown, [Path(job["path"]) for job in jobs], size)
    write_sheet(sheet, path, form)
    return shown


def sheet_format(path: Path) -> str:
    """The picture format that a file's ending names; asked before anything is rendered.

    Raises:
        UserError: no format has that ending.
    """
    form = Image.registered_extensions().get(path.suffix.lower(), "")
    if form not in Image.SAVE:
        raise UserError("no picture format has this ending", where=str(path), mend="end it in .png")
    return form


def write_sheet(sheet: Image.Image, path: Path, form: str) -> None:
    """Write a picture as a whole file.

    Raises:
        UserError: the file cannot be written.
    """
    buffer = io.BytesIO()
    sheet.save(buffer, form)
    files.write_bytes(path, buffer.getvalue())


def _assembled(names: list[str], pictures: list[Path], size: int) -> Image.Image:
    rows = -(-len(names) // PER_ROW)
    across = min(len(names), PER_ROW)
    sheet = Image.new("RGB", (across * SHOWN * size, rows * (size + LABEL)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(LABEL - 6)
    for k, name in enumerate(names):
        left, top = (k % PER_ROW) * SHOWN * size, (k // PER_ROW) * (size + LABEL)
        draw.text((left + 4, top + 1), name, fill="black", font=font)
        for n in range(SHOWN):
            with Image.open(pictures[k * SHOWN + n]) as picture:
                sheet.paste(picture, (left + n * size, top + LABEL))
    return sheet
