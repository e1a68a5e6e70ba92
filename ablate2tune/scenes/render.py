"""Rendering a data set: groups that are missing or torn are made, whole ones are kept."""

import hashlib
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate2tune import runs
from ablate2tune.errors import UserError
from ablate2tune.recipe import ScenesConfig
from ablate2tune.scenes.folder_lock import lock
from ablate2tune.scenes.natural import sample_natural_group
from ablate2tune.scenes.sampling import (
    POSES_PER_PAIR,
    counted,
    group_count,
    sample_group,
    split_of,
)
from ablate2tune.scenes.worker_pool import WorkerPool

SCHEMA = "ablate2tune/dataset/1"
SCENE_SCHEMA = "ablate2tune/scene/1"
PICTURES = ("images", "masks", "depth")
FOLDERS = (*PICTURES, "sidecars")
MACHINE_KEYS = {"folder", "workers", "blender", "timeout", "preset"}
"""Settings that do not change what is rendered (a preset shows in size and samples)."""
LATER_KEYS = ("world", "environments", "bystanders", "size_exponent", "assets")
"""Settings that older data sets do not name; at their defaults they are left out."""


@dataclass(frozen=True)
class RenderSummary:
    """What a data set holds: images by split, rejected attempts by reason, Blender versions."""

    images: int
    rendered_now: int
    splits: dict[str, int]
    relations: dict[str, int]
    rejections: dict[str, int]
    blender: list[str]


def render_dataset(
    config: ScenesConfig,
    seed: int,
    folder: Path,
    on_progress: Callable[[int, int], None] | None = None,
) -> RenderSummary:
    """Render a data set into `folder`, or complete the one that is there.

    Args:
        config: what to render.
        seed: fixes every scene; the images do not depend on the number of workers.
        folder: the data set's folder.
        on_progress: called with (images done, images in all).

    Raises:
        UserError: the folder holds another data set, is being rendered by another process or cannot
            be written; Blender is missing or keeps failing; or a group found no acceptable view
            within `config.max_attempts`.
    """
    with lock(folder):
        _claim(config, seed, folder)
        count = group_count(config)
        missing = [i for i in range(count) if _whole_group(folder, i) is None]
        report = on_progress or (lambda done, total: None)
        report(2 * (count - len(missing)), 2 * count)
        if missing:
            _render_groups(config, seed, folder, missing, report)
        return _finish(config, seed, folder, 2 * len(missing))


def _render_groups(
    config: ScenesConfig,
    seed: int,
    folder: Path,
    missing: list[int],
    report: Callable[[int, int], None],
) -> None:
    total = 2 * group_count(config)
    done = total - 2 * len(missing)
    stop = threading.Event()
    with WorkerPool(config.blender, config.workers, config.timeout, config.assets) as pool:
        futures = [pool.submit(_render_group, pool, stop, config, seed, folder, i) for i in missing]
        try:
            for future in as_completed(futures):
                future.result()
                done += 2
                report(done, total)
        finally:
            stop.set()


def _identity(config: ScenesConfig, seed: int) -> dict[str, Any]:
    held = config.model_dump(mode="json", exclude=MACHINE_KEYS)
    usual = ScenesConfig().model_dump(mode="json")
    for key in LATER_KEYS:
        if held[key] == usual[key]:
            del held[key]
    return {"config": held, "seed": seed}


def _claim(config: ScenesConfig, seed: int, folder: Path) -> None:
    """Make the folder this data set's own, or refuse one that belongs to another."""
    note = folder / "dataset.json"
    identity = _identity(config, seed)
    if note.exists():
        held = runs.read_json(note)
        differing = runs.differences({k: held.get(k) for k in identity}, identity)
        if differing:
            raise UserError(
                f"holds another data set: {differing[0]}",
                where=str(folder),
                mend="choose another folder or delete this one",
            )
    else:
        runs.write_json(note, {"schema": SCHEMA, **identity})
    try:
        for name in FOLDERS:
            (folder / name).mkdir(exist_ok=True)
            for left_over in (folder / name).glob("*.tmp"):  # a killed worker's half-written file
                left_over.unlink()
    except OSError as error:
        raise runs.unwritable(folder, error) from error


def _render_group(
    pool: WorkerPool,
    stop: threading.Event,
    config: ScenesConfig,
    seed: int,
    folder: Path,
    index: int,
) -> None:
    """Try attempts of one group until both twins show their relation."""
    sample = sample_natural_group if config.world == "natural" else sample_group
    rejections: list[str] = []
    for attempt in range(config.max_attempts):
        if stop.is_set():
            return
        group = sample(config, seed, index, attempt, split_of(config, index))
        if attempt % POSES_PER_PAIR == 0:
            rejections.extend(group["refused"])
        job = {"group": group, "folder": str(folder.resolve()), "rejections": rejections}
        answer = pool.ask(job)
        if answer["status"] == "accepted":
            return
        rejections.append(answer["reason"])
    raise UserError(
        f"no acceptable view in {config.max_attempts} attempts: {counted(rejections)}",
        where=f"{folder}/g{index:06d}",
        mend="lower min_area or raise max_attempts",
    )


def _whole_group(folder: Path, index: int) -> list[dict[str, Any]] | None:
    """The sidecars of a group whose files are all whole; None if any is missing or torn."""
    sidecars = []
    for letter in "ab":
        scene_id = f"g{index:06d}-{letter}"
        path = folder / "sidecars" / f"{scene_id}.json"
        if not path.exists():
            return None
        try:
            sidecar = runs.read_json(path)
        except (UserError, UnicodeDecodeError):
            return None
        if not isinstance(sidecar, dict) or sidecar.get("schema") != SCENE_SCHEMA:
            return None
        if sidecar.get("scene_id") != scene_id:
            return None
        for kind in PICTURES:
            picture = folder / kind / f"{scene_id}.png"
            digest = hashlib.sha256(picture.read_bytes()).hexdigest() if picture.exists() else None
            if digest != sidecar["sha256"][kind]:
                return None
        sidecars.append(sidecar)
    # Both twins come from one attempt, unless a crash fell between a retry's two renders.
    return sidecars if sidecars[0]["attempt"] == sidecars[1]["attempt"] else None


def _finish(config: ScenesConfig, seed: int, folder: Path, rendered_now: int) -> RenderSummary:
    """Write metadata.jsonl and dataset.json from the sidecars, in index order."""
    records, rejections, blender = [], Counter[str](), set[str]()
    for index in range(group_count(config)):
        twins = [
            runs.read_json(folder / "sidecars" / f"g{index:06d}-{letter}.json") for letter in "ab"
        ]
        records.extend(twin["record"] for twin in twins)
        blender.update(twin["made_with"]["blender"] for twin in twins)
        rejections.update(twins[0]["rejections"])
    runs.write_jsonl(folder / "metadata.jsonl", records)
    summary = RenderSummary(
        images=len(records),
        rendered_now=rendered_now,
        splits=dict(Counter(r["split"] for r in records)),
        relations=dict(sorted(Counter(r["relation"] for r in records).items())),
        rejections=dict(rejections.most_common()),
        blender=sorted(blender),
    )
    runs.write_json(
        folder / "dataset.json",
        {
            "schema": SCHEMA,
            **_identity(config, seed),
            "images": summary.images,
            "splits": summary.splits,
            "relations": summary.relations,
            "rejections": summary.rejections,
            "blender": summary.blender,
        },
    )
    return summary
