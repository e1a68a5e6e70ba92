"""Rendering a data set: groups that are missing or torn are made, whole ones are kept."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate2tune.disk.folder_lock import lock
from ablate2tune.errors import UserError
from ablate2tune.files import differences, read_json, unwritable, write_json, write_jsonl
from ablate2tune.progress import Bar
from ablate2tune.scenes.assets.asset_folders import script_hashes
from ablate2tune.scenes.dataset.caption_rates import kept_rates
from ablate2tune.scenes.dataset.card import write_card
from ablate2tune.scenes.layouts.natural import files_of, user_files
from ablate2tune.scenes.layouts.scene_sampling import (
    POSES_PER_PAIR,
    group_count,
    split_of,
    view_transform,
)
from ablate2tune.scenes.prompts.prompt_plans import plans_of
from ablate2tune.scenes.rendering.failures import FIRST, Failure, Failures, FirstFailedError
from ablate2tune.scenes.rendering.render_engine import WORKER_MEMORY, Engine, open_engine
from ablate2tune.scenes.rendering.resume import FOLDERS, TWINS, group_state, remove_group
from ablate2tune.scenes.rendering.worker_pool import JobError
from ablate2tune.scenes.samplers import relation_of, sample
from ablate2tune.scenes.scenes_config import ScenesConfig

SCHEMA = "ablate2tune/dataset/1"
MACHINE_KEYS = {
    "folder", "engine", "workers", "blender", "device", "timeout", "preset",
    "captions",
}  # fmt: skip
"""Settings that do not change what is rendered (a preset shows in size and samples)."""
LATER_KEYS = (
    *("world", "environments", "bystanders", "assets", "denoise"),
    *("view_transforms", "frame", "prompts", "sizes", "perspective"),
)
"""Settings that older data sets do not name; at their defaults they are left out."""
NATURAL_EDITION = 10
"""Of how natural scenes are drawn; sets of another edition are not completed."""
TOLD = 3
"""Damaged files that are named."""


@dataclass(frozen=True)
class RenderSummary:
    """What a data set holds: images by split, rejected attempts by reason, Blender versions,
    devices that rendered."""

    images: int
    rendered_now: int
    damaged: int
    """Groups that were there, damaged, and rendered again."""
    splits: dict[str, int]
    relations: dict[str, int]
    rejections: dict[str, int]
    blender: list[str]
    devices: list[str]
    """ "CPU", or the backend and the name of a GPU."""


def render_dataset(
    config: ScenesConfig,
    seed: int,
    folder: Path,
    on_progress: Bar | None = None,
    on_message: Callable[[str], None] | None = None,
) -> RenderSummary:
    """Render a data set into `folder`, or complete the one that is there.

    Args:
        config: what to render.
        seed: fixes every scene; the images do not depend on the number of workers.
        folder: the data set's folder.
        on_progress: called with images done, images in all, and views rejected so far by reason.
        on_message: called with lines for people.

    A group that fails is recorded below `folder` (see `failures`) while the others go on; a group
    that is there but damaged is rendered again.

    Raises:
        UserError: the folder holds another data set, is being rendered by another process or cannot
            be written; Blender is missing or does not start; the first groups of a relation all
            failed (in a folder that held nothing, what was rendered of the others is removed, so
            that the recipe may change); or, once all others are there, a group failed.
        KeyboardInterrupt: it was interrupted, after a line on what is kept.
    """
    left_out = plans_of(config)[1] if config.prompts else {}
    with lock(folder, "is rendering into it", on_message):
        fresh = _claim(config, seed, folder)
        for text, why in left_out.items():
            if on_message:
                on_message(f"render-data: {text!r} is left out: {why}")
        count = group_count(config)
        states = [group_state(folder, index) for index in range(count)]
        damaged = [state.damage for state in states if state.damage]
        if damaged and on_message:
            told = ", ".join(damaged[:TOLD]) + (", ..." if len(damaged) > TOLD else "")
            on_message(f"render-data: {len(damaged)} damaged, rendered again: {told}")
        asked = Counter(relation_of(config, index) for index in range(count))
        failures = Failures(folder, {r: min(n, FIRST) for r, n in asked.items()})
        missing = []
        for index, state in enumerate(states):
            if state.sidecars is None:
                missing.append(index)
            else:
                failures.succeeded(relation_of(config, index))
        report = on_progress or (lambda done, total, note="", /: None)
        report(2 * (count - len(missing)), 2 * count)
        if missing:
            try:
                replaced = _render_groups(config, seed, folder, missing, failures, report)
            except UserError as error:
                if fresh and (isinstance(error, FirstFailedError) or not _holds_scenes(folder)):
                    _unclaim(folder, count)
                raise
            except KeyboardInterrupt:
                if on_message:
                    kept = sum(group_state(folder, k).sidecars is not None for k in range(count))
                    on_message(
                        f"render-data: {2 * kept} of {2 * count} pictures are kept in {folder}; "
                        "the same command renders the others"
                    )
                raise
            if replaced and on_message:
                on_message(
                    f"render-data: {replaced} Blender processes were replaced, having grown past "
                    f"{WORKER_MEMORY:g} GB"
                )
        _clear_half_written(folder)  # the workers have ended
        summary = _finish(config, seed, folder, missing, failures.groups, len(damaged))
        failures.raise_if_any(count)
        return summary


def _render_groups(
    config: ScenesConfig,
    seed: int,
    folder: Path,
    missing: list[int],
    failures: Failures,
    report: Bar,
) -> int:
    """Render groups side by side; returns the number of processes replaced for their size."""
    total = 2 * group_count(config)
    done = total - 2 * len(missing)
    stop = threading.Event()
    rejected: list[str] = []
    with open_engine(config) as engine:
        futures = {
            engine.submit(_render_group, engine, stop, config, seed, folder, i, rejected): i
            for i in missing
        }
        try:
            for future in as_completed(futures):
                failure = future.result()
                if failure:
                    failures.add(failure)
                else:
                    failures.succeeded(relation_of(config, futures[future]))
                done += 2
                report(done, total, _told(rejected))
        finally:
            stop.set()
        return engine.replaced


def _told(rejected: list[str]) -> str:
    """The commonest reasons of rejected views with their counts."""
    counts = Counter(rejected).most_common(TOLD)
    reasons = ", ".join(f"{reason} ({n})" for reason, n in counts)
    return f"{len(rejected)} views rejected: {reasons}" if reasons else ""


def _identity(config: ScenesConfig, seed: int) -> dict[str, Any]:
    held = config.model_dump(mode="json", exclude=MACHINE_KEYS)
    usual = ScenesConfig().model_dump(mode="json")
    for key in LATER_KEYS:
        if held[key] == usual[key]:
            del held[key]
    files, scripts = user_files(config), script_hashes(config.assets)
    return {
        "config": held,
        "seed": seed,
        **({"natural": NATURAL_EDITION} if config.world == "natural" else {}),
        **({"files": files} if files else {}),
        **({"asset_scripts": scripts} if scripts else {}),
    }


def _claim(config: ScenesConfig, seed: int, folder: Path) -> bool:
    """Make the folder this data set's own, or refuse one that holds scenes of another.

    Returns:
        Whether it held no scenes.
    """
    note = folder / "dataset.json"
    identity = _identity(config, seed)
    held = read_json(note) if note.exists() else {}
    differing = differences({k: held.get(k) for k in identity}, identity)
    fresh = not _holds_scenes(folder)
    if held and differing and not fresh:
        raise UserError(
            f"holds another data set: {differing[0]}",
            where=str(folder),
            mend="choose another folder or delete this one",
        )
    if differing:
        write_json(note, {"schema": SCHEMA, **identity})
    try:
        for name in FOLDERS:
            (folder / name).mkdir(exist_ok=True)
        _clear_half_written(folder)
    except OSError as error:
        raise unwritable(folder, error) from error
    return fresh


def _clear_half_written(folder: Path) -> None:
    """Remove what workers that were killed have left, of this run or of one before."""
    for name in FOLDERS:
        for left_over in (folder / name).glob("*.tmp"):
            left_over.unlink()


def _unclaim(folder: Path, count: int) -> None:
    """Remove what a first run has made; the record of what failed stays."""
    for index in range(count):
        remove_group(folder, f"g{index:06d}")
    (folder / "dataset.json").unlink(missing_ok=True)
    for name in FOLDERS:
        if (folder / name).is_dir() and not any((folder / name).iterdir()):
            (folder / name).rmdir()


def _holds_scenes(folder: Path) -> bool:
    return any((folder / "sidecars").glob("*.json"))


def _render_group(
    engine: Engine,
    stop: threading.Event,
    config: ScenesConfig,
    seed: int,
    folder: Path,
    index: int,
    rejected: list[str],
) -> Failure | None:
    """Try attempts of one group until both twins show their relation; why, if none does."""
    group_id, relation = f"g{index:06d}", relation_of(config, index)
    rejections: list[str] = []
    for attempt in range(config.max_attempts):
        if stop.is_set():
            return None
        group = sample(config, seed, index, attempt, split_of(config, index))
        if not config.denoise:
            group["denoise"] = False
        group.update(view_transform(config, seed, index))
        if attempt % POSES_PER_PAIR == 0:
            rejections.extend(group["refused"])
        job = {"group": group, "folder": str(folder.resolve()), "rejections": rejections}
        job.update(files_of(config, group))
        try:
            answer = engine.ask(job)
        except JobError as error:
            return Failure(group_id, relation, error.reason, error.log)
        if answer["status"] == "accepted":
            return None
        rejections.append(answer["reason"])
        rejected.append(answer["reason"])
    reason = f"no acceptable view in {config.max_attempts} attempts"
    return Failure(group_id, relation, reason, "", tuple(rejections))


def _finish(
    config: ScenesConfig,
    seed: int,
    folder: Path,
    rendered: list[int],
    failed: set[str],
    damaged: int,
) -> RenderSummary:
    """Write metadata.jsonl and dataset.json from the sidecars, in index order."""
    records, rejections = [], Counter[str]()
    blender, devices = set[str](), set[str]()
    for index in range(group_count(config)):
        if f"g{index:06d}" in failed:
            continue
        twins = [read_json(folder / "sidecars" / f"g{index:06d}-{letter}.json") for letter in TWINS]
        records.extend(twin["record"] for twin in twins)
        blender.update(twin["made_with"]["blender"] for twin in twins)
        devices.update(twin["made_with"].get("device", "CPU") for twin in twins)
        rejections.update(twins[0]["rejections"])
    write_jsonl(folder / "metadata.jsonl", records)
    summary = RenderSummary(
        images=len(records),
        rendered_now=2 * (len(rendered) - len(failed)),
        damaged=damaged,
        splits=dict(Counter(r["split"] for r in records)),
        relations=dict(sorted(Counter(r["relation"] for r in records).items())),
        rejections=dict(rejections.most_common()),
        blender=sorted(blender),
        devices=sorted(devices),
    )
    write_json(
        folder / "dataset.json",
        {
            "schema": SCHEMA,
            **_identity(config, seed),
            **kept_rates(config.captions),
            "images": summary.images,
            "splits": summary.splits,
            "relations": summary.relations,
            "rejections": summary.rejections,
            "blender": summary.blender,
            "devices": summary.devices,
        },
    )
    write_card(folder, user_files(config))
    return summary
