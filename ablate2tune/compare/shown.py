"""What a comparison shows: one row of verdicts.jsonl for each picture of each arm."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ablate2tune import files
from ablate2tune.compare.prompts import Prompt
from ablate2tune.compare.relation_reading import Detection
from ablate2tune.compare.verdicts import Verdict
from ablate2tune.errors import UserError
from ablate2tune.pictures import read_images

FILE, ABOUT = "verdicts.jsonl", "compared.json"
"""The rows, and what the arms and the judge are."""
SCHEMA = "ablate2tune/verdict/2"


@dataclass(frozen=True)
class Shown:
    """One picture of one arm, with what the judge read in it, if there is one."""

    prompt: Prompt
    repeat: int
    """Which of the prompt's pictures, from 0."""
    seed: int
    """Of its noise, 32 bits: `torch.Generator().manual_seed(seed)`."""
    path: Path
    picture: str
    """Hash of what decides the picture: prompt, seed, sampler, model and the arm's content."""
    judge: str | None = None
    """Hash of the judge that read it."""
    detections: list[dict[str, Any]] | None = None
    """Label, box, score, depth and perhaps the runner-up of each object, largest first."""
    verdict: Verdict | None = None

    @property
    def read(self) -> Verdict:
        """The verdict, of a picture that a judge has read."""
        assert self.verdict is not None, "metrics that need a judge are left out without one"
        return self.verdict

    @property
    def cluster(self) -> str:
        """The pair of objects, in either order: what is resampled as one.

        Prompts share their pairs, and some pairs are easier to draw than others.
        """
        return " + ".join(sorted((self.prompt.subject_label, self.prompt.object_label)))

    def pixels(self) -> np.ndarray:
        """The picture, uint8 (height, width, 3)."""
        return read_images([self.path])[0]


def write_shown(folder: Path, arms: Mapping[str, Sequence[Shown]]) -> None:
    """Write the pictures of all arms, the rows of an arm together."""
    files.write_jsonl(
        folder / FILE, [_row(folder, arm, one) for arm, shown in arms.items() for one in shown]
    )


def read_shown(folder: Path) -> dict[str, list[Shown]]:
    """The arms as a comparison left them; empty where there is none of this schema.

    Raises:
        UserError: a row is not as this schema has it.
    """
    arms: dict[str, list[Shown]] = {}
    for number, row in enumerate(files.read_jsonl(folder / FILE), start=1):
        if row.get("schema") != SCHEMA:
            return {}
        try:
            arms.setdefault(row["arm"], []).append(_shown(folder, row))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"not a row of schema {SCHEMA}",
                where=f"{folder / FILE}:{number}",
                mend="delete the file and run compare again",
            ) from error
    return arms


def _row(folder: Path, arm: str, shown: Shown) -> dict[str, Any]:
    prompt = shown.prompt
    return {
        "schema": SCHEMA,
        "arm": arm,
        "prompt": prompt.text,
        "relation": prompt.relation,
        "subject": prompt.subject_label,
        "object": prompt.object_label,
        "index": prompt.index,
        "repeat": shown.repeat,
        "seed": shown.seed,
        "image": shown.path.relative_to(folder).as_posix(),
        "picture": shown.picture,
        "judge": shown.judge,
        "detections": shown.detections,
        "verdict": shown.verdict and asdict(shown.verdict),
    }


def _shown(folder: Path, row: dict[str, Any]) -> Shown:
    subject_colour, subject = row["subject"].split(" ", 1)
    object_colour, object_ = row["object"].split(" ", 1)
    prompt = Prompt(
        row["prompt"], row["relation"], subject, subject_colour, object_, object_colour,
        row["index"],
    )  # fmt: skip
    return Shown(
        prompt,
        row["repeat"],
        row["seed"],
        folder / row["image"],
        row["picture"],
        row["judge"],
        row["detections"],
        None if row["verdict"] is None else Verdict(**row["verdict"]),
    )


def detection_row(detection: Detection) -> dict[str, Any]:
    """A detection in a row of verdicts."""
    row: dict[str, Any] = {
        "label": detection.label,
        "box": list(detection.box),
        "score": round(detection.score, 4),
        "depth": None if np.isnan(detection.depth) else round(detection.depth, 3),
    }
    if detection.runner_up:
        label, score = detection.runner_up
        row["runner_up"] = {"label": label, "score": round(score, 4)}
    return row
