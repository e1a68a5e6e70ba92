"""A judge and its own error, for the evidence of `localize` that rests on sampled pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ablate2tune import runs
from ablate2tune.compare.calibration import Calibration, calibrate, calibration_sample
from ablate2tune.compare.judges import JUDGED_AT_ONCE, Judge, load_judge
from ablate2tune.compare.metrics import Resampling
from ablate2tune.scenes.dataset import SceneRecord, load_images


class Judging(NamedTuple):
    """Who judges pictures, and how often it is wrong."""

    judge: Judge
    calibration: Calibration | None
    """Its error on rendered test scenes; None where there are none."""

    def as_dict(self) -> dict[str, Any]:
        """As in the result files."""
        known = None if self.calibration is None else self.calibration.as_dict()
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
    folder: Path | None,
    test_records: Sequence[SceneRecord],
    images: int,
    how: Resampling,
    device: torch.device,
) -> Judging:
    """Load a judge and measure it on rendered scenes whose truth is known.

    Args:
        folder: the judge's folder.
        test_records: scenes that no margin and no mean is taken from.
        images: so many of them at most.
        how: resampling of the contrast groups.
        device: where it runs.

    Raises:
        UserError: there is no judge, or it does not know an object of the scenes.
    """
    judge = load_judge(folder, device)
    records = calibration_sample(test_records, images, how.seed)
    if not records:
        return Judging(judge, None)
    return Judging(judge, calibrate(judge, records, load_images(records), how, JUDGED_AT_ONCE))


def judge_hash(judging: Judging) -> str:
    """Hash of the judge: its folder's content, or what it says of itself."""
    description = judging.judge.describe()
    folder = description.get("folder")
    return runs.content_hash(description.get("kind"), Path(folder) if folder else description)
