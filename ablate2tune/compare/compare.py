"""Arms compared: the same prompts and seeds through each of them, and a judge's reading of each.

What is made here is known by content (each picture, each reading), so that what is there is kept
as long as it is what would be made again, and never taken for anything else. Figures, grid and
tracking are derived from the files afterwards (`scores`, `grid`, `tracking`).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from ablate2tune import files
from ablate2tune.compare.arm_pictures import make_pictures, plan
from ablate2tune.compare.arms import Arm, check_arms
from ablate2tune.compare.compare_config import CompareConfig
from ablate2tune.compare.judge_error import (
    CALIBRATION,
    calibration_sample,
    read_scenes,
)
from ablate2tune.compare.judges import JUDGED_AT_ONCE, Judge, check_label, load_judge
from ablate2tune.compare.prompts import (
    JUDGED,
    Prompt,
    plain_prompts,
    relation_prompts,
    trained_pairs,
)
from ablate2tune.compare.shown import ABOUT, Shown, detection_row, read_shown, write_shown
from ablate2tune.compare.shown import FILE as VERDICTS
from ablate2tune.compare.verdicts import give_verdict
from ablate2tune.disk.identity import file_hash
from ablate2tune.files import content_hash
from ablate2tune.models import Denoiser, check_fit
from ablate2tune.pictures import read_images
from ablate2tune.progress import Progress
from ablate2tune.scenes.dataset.records import SceneRecord, load_images
from ablate2tune.scenes.samplers import things
from ablate2tune.scenes.scenes_config import ScenesConfig


def compare(
    denoiser: Denoiser,
    arms: Sequence[Arm],
    scenes: ScenesConfig,
    records: Sequence[SceneRecord],
    config: CompareConfig,
    seed: int,
    folder: Path,
    *,
    model: str,
    on_progress: Progress | None = None,
) -> dict[str, list[Shown]]:
    """Measure the judge, make the pictures of all arms and judge them.

    Leaves `images/ARM/`, `verdicts.jsonl`, `compared.json` and, with a judge, `calibration.jsonl`
    below `folder`. Without a judge the rows of `verdicts.jsonl` hold no detections and no verdict.

    Args:
        denoiser: the base model, without adapters.
        arms: what is compared.
        scenes: what the prompts are drawn from.
        records: the data set: its training scenes show what no prompt may ask for, and on its
            test scenes the judge is measured.
        config: numbers of prompts and images, sampler, judge.
        seed: fixes prompts, noise and the scenes the judge is measured on.
        folder: the stage's folder.
        model: hash of the model and of how it computes: part of what a picture is.
        on_progress: called with (images there, images of all arms).

    Raises:
        UserError: an arm or the judge does not fit, there are not enough held-out pairs, there is
            nothing to calibrate on, or the folder cannot be written.
    """
    check_arms(denoiser, arms)
    trained = trained_pairs(records)
    relational = relation_prompts(scenes, config.prompts, seed, trained)
    plain = plain_prompts(scenes, config.plain_prompts, seed, trained)
    tests = [
        record
        for record in records
        if config.judge and record.split == "test" and record.relation in JUDGED
    ]
    texts = [prompt.text for prompt in (*relational, *plain)]
    check_fit(denoiser, [record.image_path for record in tests], texts)

    whole = _whole(folder)
    before = read_shown(folder) if VERDICTS in whole else {}

    # 1. What the judge's word is worth.
    judge, known = None, None
    if config.judge is not None:
        labels = [" ".join(thing) for thing in things(scenes)]
        judge, known = _judge(config, denoiser, labels, [*relational, *plain])
        drawn = calibration_sample(tests, config.calibration_images, seed)
        _calibrate(judge, known, drawn, folder / CALIBRATION, CALIBRATION in whole)

    # 2. The pictures, arm by arm.
    report = on_progress or (lambda done, total: None)
    shown = {
        arm.name: plan(
            folder / "images" / arm.name,
            content_hash(model, arm.content),
            relational,
            plain,
            config,
            seed,
        )
        for arm in arms
    }
    total = sum(map(len, shown.values()))
    for number, arm in enumerate(arms):
        first = number * total // len(arms)
        make_pictures(
            denoiser,
            shown[arm.name],
            config,
            arm.applied(denoiser),
            lambda done, at=first: report(at + done, total),
        )

    # 3. Verdicts.
    if judge is not None and known is not None:
        for arm in arms:
            was = before.get(arm.name, [])
            shown[arm.name] = _judged(judge, known, shown[arm.name], was)
    about = {
        "schema": "ablate2tune/compared/1",
        "arms": {arm.name: arm.about() for arm in arms},
        "judge": judge.describe() if judge else None,
    }
    write_shown(folder, shown)
    names = [name for name in (VERDICTS, CALIBRATION) if (folder / name).is_file()]
    about["files"] = {name: file_hash(folder / name) for name in names}
    files.write_json(folder / ABOUT, about)
    return shown


def _whole(folder: Path) -> set[str]:
    """The rows that are there as an earlier comparison wrote them, to the byte."""
    path = folder / ABOUT
    held = files.read_json(path)["files"] if path.is_file() else {}
    return {
        name
        for name, digest in held.items()
        if (folder / name).is_file() and file_hash(folder / name) == digest
    }


def _judge(
    config: CompareConfig, denoiser: Denoiser, labels: list[str], prompts: Sequence[Prompt]
) -> tuple[Judge, str]:
    """The judge, once it is known to know every object that will be asked for, and its hash."""
    assert config.judge is not None
    judge = load_judge(config.judge, denoiser.device, labels)
    for prompt in prompts:
        for label in prompt.labels:
            check_label(judge.labels, label)
    return judge, content_hash(config.judge.decisive(), list(judge.labels))


def _calibrate(judge: Judge, known: str, drawn: list[SceneRecord], path: Path, whole: bool) -> None:
    """Write what the judge says of rendered scenes, unless it is there."""
    pictures = load_images(drawn) if drawn else np.zeros((0, 1, 1, 3), np.uint8)
    seen = hashlib.sha256(pictures.tobytes()).hexdigest()
    key = content_hash(known, [record.scene_id for record in drawn], seen)
    held = files.read_jsonl(path) if whole else []
    if len(held) != len(drawn) or {row["key"] for row in held} != {key}:
        readings = read_scenes(judge, drawn, pictures, JUDGED_AT_ONCE)
        files.write_jsonl(path, [{"key": key, **asdict(one)} for one in readings])


def _judged(
    judge: Judge, known: str, shown: Sequence[Shown], before: Sequence[Shown]
) -> list[Shown]:
    """With verdicts: those given before, if all are of these pictures and by this judge."""
    if [(was.picture, was.judge) for was in before] == [(one.picture, known) for one in shown]:
        return list(before)
    found = judge.detect(read_images([one.path for one in shown]), JUDGED_AT_ONCE)
    return [
        replace(
            one,
            judge=known,
            detections=[detection_row(detection) for detection in seen],
            verdict=give_verdict(one.prompt, seen),
        )
        for one, seen in zip(shown, found, strict=True)
    ]
