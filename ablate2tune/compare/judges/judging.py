"""A judge and its own error, for whoever rests on judged pictures."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import torch

from ablate2tune import files
from ablate2tune.compare.judge_error import Calibration, calibrate, calibration_sample
from ablate2tune.compare.judges import JUDGED_AT_ONCE, AnyJudge, Judge, load_judge
from ablate2tune.compare.prompts import JUDGED
from ablate2tune.scenes.dataset.records import SceneRecord, load_images
from ablate2tune.statistics.resampling import Resampling


class Judging(NamedTuple):
    """Who judges pictures, and how often it is wrong."""

    judge: Judge
    calibration: Calibration | None
    """Its error on rendered test scenes; None where there are none."""
    settings: dict[str, Any] | None = None
    """The recipe's, with its models by their content."""

    def as_dict(self) -> dict[str, Any]:
        """As in the result files."""
        known = self.calibration and asdict(self.calibration)
        return {**self.judge.describe(), "calibration": known}

    def line(self) -> str:
        """The judge's error, for people."""
        if self.calibration is None:
            return "the judge's own error is unknown: the data set has no test scenes"
        wrong = self.calibration.verdict_error
        return (
            f"the judge gives {100 * (wrong.value or 0):.1f} % wrong verdicts on "
            f"{self.calibration.images} rendered scenes"
        )


def judging(
    chosen: AnyJudge,
    records: Sequence[SceneRecord],
    images: int,
    how: Resampling,
    device: torch.device,
) -> Judging:
    """Load a judge and measure it on rendered scenes whose truth is known.

    Args:
        chosen: the judge's settings; a zero-shot one is asked for the
            objects of these records.
        records: the data set; its test scenes, which no margin and no mean is taken from, tell the
            judge's error.
        images: so many of them at most.
        how: resampling of the contrast groups.
        device: where it runs.

    Raises:
        UserError: there is no judge, or it does not know an object of the scenes.
    """
    labels = {f"{r.subject_colour} {r.subject}" for r in records}
    labels |= {f"{r.object_colour} {r.object}" for r in records}
    judge = load_judge(chosen, device, sorted(labels))
    test = [one for one in records if one.split == "test" and one.relation in JUDGED]
    drawn = calibration_sample(test, images, how.seed)
    error = calibrate(judge, drawn, load_images(drawn), how, JUDGED_AT_ONCE) if drawn else None
    return Judging(judge, error, chosen.decisive() if chosen else None)


def judge_hash(judging: Judging) -> str:
    """Hash of the judge: its settings and its models' content, or what it says of itself."""
    return files.content_hash(judging.settings or judging.judge.describe())
