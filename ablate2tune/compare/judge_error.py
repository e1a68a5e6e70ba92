"""A judge's own error, measured on rendered scenes whose truth is known."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ablate2tune.compare.judges import JUDGED_AT_ONCE, Judge, check_label
from ablate2tune.compare.prompts import Prompt
from ablate2tune.compare.verdicts import Verdict, give_verdict
from ablate2tune.errors import UserError
from ablate2tune.scenes.dataset.records import SceneRecord
from ablate2tune.scenes.vocabulary import OPPOSITE
from ablate2tune.seeding import numpy_generator
from ablate2tune.statistics.rates import Rate, cluster_counts, rate
from ablate2tune.statistics.resampling import Resampling

CALIBRATION = "calibration.jsonl"
"""What the judge said of each rendered scene: a `Reading` a row, in the stage's folder."""
LARGE_ERROR = 0.1
"""Share of wrong verdicts from which a judge's figures come with a warning. One that sees nothing,
or takes relations at random, has 0.5."""


@dataclass(frozen=True)
class Calibration:
    """How often a judge is wrong on rendered scenes; intervals resample contrast groups."""

    images: int
    object_recall: Rate
    """Objects that are found, with the right colour and kind."""
    object_precision: Rate
    """Detections that are an object of the scene; a second one of the same label is not."""
    both_found: Rate
    """Images in which both objects are found."""
    relation_error: Rate
    """Images whose relation is read wrongly or not at all, among those with both found."""
    relation_unread: Rate
    """Those in which it is not read at all, among the same."""
    missed: Rate
    """Images whose true caption is judged not to hold."""
    accepted: Rate
    """Images for which the caption with the opposite relation is judged to hold."""
    verdict_error: Rate
    """Wrong verdicts among these two questions, asked of every image."""
    per_relation: dict[str, Rate]
    """`relation_error` by true relation."""


@dataclass(frozen=True)
class Reading:
    """What a judge said of one rendered scene."""

    scene: str
    group: str
    relation: str
    """The true one."""
    detected: int
    """Objects that it saw."""
    verdict: Verdict
    """On the true caption."""

    @classmethod
    def of(cls, row: dict[str, Any]) -> "Reading":
        """The reading that a row holds."""
        told = {field.name: row[field.name] for field in fields(cls)}
        return cls(**{**told, "verdict": Verdict(**told["verdict"])})


def calibrate(
    judge: Judge,
    records: Sequence[SceneRecord],
    images: np.ndarray,
    how: Resampling,
    batch_size: int = JUDGED_AT_ONCE,
) -> Calibration:
    """Run a judge on rendered scenes and compare what it says with what was rendered.

    Images are uint8 (n, height, width, 3), the records' own.

    Raises:
        UserError: there is no scene, or the judge does not know an object of the scenes.
    """
    return calibration_of(read_scenes(judge, records, images, batch_size), how)


def read_scenes(
    judge: Judge,
    records: Sequence[SceneRecord],
    images: np.ndarray,
    batch_size: int = JUDGED_AT_ONCE,
) -> list[Reading]:
    """What a judge says of rendered scenes (see `calibrate`)."""
    if not records:
        raise UserError(
            "there are no rendered test scenes to measure the judge on",
            where="scenes.test_images",
            mend="set it to 100 or more and render the data again",
        )
    prompts = [
        Prompt(r.text, r.relation, r.subject, r.subject_colour, r.object, r.object_colour, index=0)
        for r in records
    ]
    for label in sorted({p.subject_label for p in prompts} | {p.object_label for p in prompts}):
        check_label(judge.labels, label)
    found = judge.detect(images, batch_size)
    return [
        Reading(r.scene_id, r.group_id, r.relation, len(seen), give_verdict(prompt, seen))
        for r, prompt, seen in zip(records, prompts, found, strict=True)
    ]


def calibration_of(readings: Sequence[Reading], how: Resampling) -> Calibration:
    """The error rates of what a judge said of rendered scenes; contrast groups are resampled."""
    verdicts = [reading.verdict for reading in readings]
    groups = np.array([reading.group for reading in readings])

    def share(hits: ArrayLike, trials: ArrayLike) -> Rate:
        return rate(*cluster_counts(np.asarray(hits), np.asarray(trials), groups), how)

    relations = np.array([reading.relation for reading in readings])
    right = [v.subject_found + v.object_found for v in verdicts]
    both = np.array([v.objects for v in verdicts])
    wrong = np.array([v.objects and not v.relation_right for v in verdicts])
    missed = [not v.spatial for v in verdicts]
    accepted = [
        one.verdict.objects and one.verdict.relation_read == OPPOSITE[one.relation]
        for one in readings
    ]
    ones = np.ones(len(readings))
    return Calibration(
        images=len(readings),
        object_recall=share(right, 2 * ones),
        object_precision=share(right, [reading.detected for reading in readings]),
        both_found=share(both, ones),
        relation_error=share(wrong, both),
        relation_unread=share([v.objects and v.relation_read is None for v in verdicts], both),
        missed=share(missed, ones),
        accepted=share(accepted, ones),
        verdict_error=share(np.add(missed, accepted, dtype=int), 2 * ones),
        per_relation={
            str(name): share(wrong & (relations == name), both & (relations == name))
            for name in np.unique(relations)
        },
    )


def calibration_sample(records: Sequence[SceneRecord], count: int, seed: int) -> list[SceneRecord]:
    """Whole contrast groups, drawn by seed, up to `count` scenes (one group at least)."""
    groups: dict[str, list[SceneRecord]] = {}
    for record in records:
        groups.setdefault(record.group_id, []).append(record)
    names = sorted(groups)
    drawn: list[SceneRecord] = []
    for i in numpy_generator(seed, "judge calibration").permutation(len(names)):
        if drawn and len(drawn) + len(groups[names[i]]) > count:
            break
        drawn += groups[names[i]]
    return drawn


def large_error(calibration: dict[str, Any]) -> str | None:
    """What to say of a judge whose `calibration` in `scores.json` is large; None if it is not."""
    error = calibration["verdict_error"]["value"]
    if error is None or error <= LARGE_ERROR:
        return None
    return (
        f"the judge is often wrong: {100 * error:.0f} % of its verdicts on "
        f"{calibration['images']} rendered scenes whose truth is known"
    )
