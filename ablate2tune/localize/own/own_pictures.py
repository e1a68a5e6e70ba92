"""Sampling the captions of contrast groups and keeping the pictures that a judge verifies."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ablate2tune import files
from ablate2tune.compare.judges import JUDGED_AT_ONCE
from ablate2tune.compare.judges.judging import Judging, judge_hash
from ablate2tune.compare.prompts import Prompt
from ablate2tune.compare.relation_reading import Detection
from ablate2tune.compare.verdicts import give_verdict
from ablate2tune.contrasts.contrast import Contrast
from ablate2tune.localize.generate.drawn_examples import check_judgeable, scene_examples
from ablate2tune.localize.localize_config import OwnImagesConfig
from ablate2tune.localize.measuring.processes import Processes
from ablate2tune.localize.measuring.row_file import Row, Rows
from ablate2tune.models import Denoiser
from ablate2tune.pictures import Picture, made_batch, remove_left_overs
from ablate2tune.progress import Progress

SCHEMA = "ablate2tune/own-verdict/1"
PURPOSE = "own image"
"""Of the pictures' seeds."""
MISSING = "an object is missing"
WRONG = "the relation is another, or not clear"
MORE = "more than the two objects is there"
REASONS = (MISSING, WRONG, MORE)


class OwnImages(NamedTuple):
    """Pictures that the model made and the judge verified, as scenes of their contrast groups."""

    contrasts: list[Contrast]
    """One for each caption that was verified, in the order of the captions."""
    captions: int
    """Captions that were sampled."""
    rejected: dict[str, int]
    """Pictures that were not kept, by reason."""
    folder: Path
    """Where all of them lie."""

    @property
    def drawn(self) -> int:
        """Pictures that were sampled."""
        return len(self.contrasts) + sum(self.rejected.values())

    def groups(self, among: Sequence[Contrast]) -> int:
        """How many contrast groups of these scenes have a verified picture."""
        wanted = {contrast.cluster for contrast in among}
        return len(wanted & {contrast.cluster for contrast in self.contrasts})

    def line(self) -> str:
        """The counts, for people."""
        reasons = ", ".join(f"{count}: {reason}" for reason, count in self.rejected.items())
        return (
            f"own pictures: {len(self.contrasts)} of {self.drawn} kept, for {self.captions} "
            f"captions" + (f"; rejected {reasons}" if reasons else "")
        )


def draw_own(
    denoiser: Denoiser,
    contrasts: Sequence[Contrast],
    config: OwnImagesConfig,
    seed: int,
    folder: Path,
    model: str,
    judging: Judging,
    processes: Processes,
    on_progress: Progress | None = None,
) -> OwnImages:
    """Sample each caption until a picture of it is verified, or the seeds are used up.

    The pictures lie in a folder below `folder` that is named by all that they depend on, with
    verdicts.jsonl, a row for each. Both are used again by any run that shares all of it.

    Args:
        denoiser: the model.
        contrasts: examples whose true texts are sampled.
        config: seeds and sampling settings.
        seed: of the pictures' noise.
        folder: holds folders of pictures.
        model: from `identity.model_hash`.
        judging: the judge.
        processes: of the launcher; they share the folder.
        on_progress: told (pictures done, pictures that are due so far).

    Raises:
        UserError: the judge cannot read these scenes.
    """
    check_judgeable(judging.judge, contrasts, "localize.images")
    folder = folder / _key(denoiser, contrasts, config, seed, model, judging)
    if processes.is_first:
        remove_left_overs(folder)
    path = folder / "verdicts.jsonl"
    rows = processes.open(Rows(path, _row_key, processes.own_file(path)), path)
    done = 0
    for repeat in range(config.seeds):
        earlier = [row for row in rows.rows() if row["repeat"] < repeat]
        verified = {row["scene"] for row in earlier if row["reason"] is None}
        left = [contrast for contrast in contrasts if contrast.id not in verified]
        new, due = [], done + len(left)
        for number, start in enumerate(range(0, len(left), config.batch_size)):
            part = left[start : start + config.batch_size]
            if processes.owns(number):
                new += _verify(denoiser, part, repeat, config, seed, folder, judging, rows)
            done += len(part)
            if on_progress:
                on_progress(done, due)
        processes.exchange(rows, new)
    place = {contrast.id: index for index, contrast in enumerate(contrasts)}
    if processes.is_first:
        rows.put_in_order(lambda row: (row["repeat"], place[row["scene"]]))
    processes.close(path)
    judged = [row for row in rows.rows() if row["repeat"] < config.seeds]
    return _own_images(judged, contrasts, folder)


def why_not(prompt: Prompt, found: list[Detection]) -> str | None:
    """Why a picture cannot stand for its caption; None if it can.

    A third thing, or a second one of a kind, could make the foil true of the picture as well.
    """
    verdict = give_verdict(prompt, found)
    if not verdict.objects:
        return MISSING
    if not verdict.relation_right:
        return WRONG
    return MORE if verdict.extra else None


def _verify(
    denoiser: Denoiser,
    batch: Sequence[Contrast],
    repeat: int,
    config: OwnImagesConfig,
    seed: int,
    folder: Path,
    judging: Judging,
    rows: Rows,
) -> list[Row]:
    """Sample one batch of captions and judge it; returns the new rows."""
    if all((contrast.id, repeat) in rows for contrast in batch):
        return []
    examples = scene_examples(batch, [repeat], seed, PURPOSE)
    pictures = [
        Picture(example.text, example.image_seed, folder / _file_name(contrast, repeat))
        for example, contrast in zip(examples, batch, strict=True)
    ]
    images = made_batch(denoiser, pictures, config.steps, config.true_cfg_scale)
    found = judging.judge.detect(images, JUDGED_AT_ONCE)
    return rows.append(
        [
            {
                "schema": SCHEMA,
                "scene": contrast.id,
                "group": contrast.cluster,
                "repeat": repeat,
                "prompt": contrast.text,
                "seed": example.image_seed,
                "image": _file_name(contrast, repeat),
                "detections": [detection.label for detection in detections],
                "reason": why_not(example.prompt, detections) if example.prompt else MISSING,
            }
            for contrast, example, detections in zip(batch, examples, found, strict=True)
        ]
    )


def _own_images(judged: Sequence[Row], contrasts: Sequence[Contrast], folder: Path) -> OwnImages:
    kept = {row["scene"]: row for row in judged if row["reason"] is None}
    rejected = Counter(row["reason"] for row in judged if row["reason"] is not None)
    return OwnImages(
        [
            replace(
                contrast,
                id=f"{contrast.id}-own-{kept[contrast.id]['repeat']}",
                payload=folder / kept[contrast.id]["image"],
            )
            for contrast in contrasts
            if contrast.id in kept
        ],
        len(contrasts),
        {reason: rejected[reason] for reason in REASONS if rejected[reason]},
        folder,
    )


def _file_name(contrast: Contrast, repeat: int) -> str:
    return f"{contrast.id}-{repeat}.png"


def _row_key(row: Row) -> tuple[str, int]:
    return row["scene"], row["repeat"]


def _key(
    denoiser: Denoiser,
    contrasts: Sequence[Contrast],
    config: OwnImagesConfig,
    seed: int,
    model: str,
    judging: Judging,
) -> str:
    """Hash of all that the pictures and their verdicts depend on."""
    return files.content_hash(
        SCHEMA,
        model,
        denoiser.config.guidance_scale,
        config.model_dump(mode="json", exclude={"seeds"}),
        seed,
        [[contrast.id, contrast.text] for contrast in contrasts],
        judge_hash(judging),
    )
