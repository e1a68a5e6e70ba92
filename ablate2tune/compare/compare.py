"""Before and after: the same prompts and seeds through the base model and the adapted one.

With a judge the pictures are read and scored; without one they are made and shown.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ablate2tune import runs
from ablate2tune.compare.calibration import calibrate, calibration_sample, check_label, large_error
from ablate2tune.compare.compare_config import CompareConfig
from ablate2tune.compare.grid import Pair, choose_rows, draw_grid
from ablate2tune.compare.judges import JUDGED_AT_ONCE, Judge, load_judge
from ablate2tune.compare.metrics import Figures, Outcomes, read_figures, score
from ablate2tune.compare.prompts import Prompt, plain_prompts, relation_prompts
from ablate2tune.compare.relations import Detection
from ablate2tune.compare.sampling import Job, make_images, plan
from ablate2tune.compare.verdicts import Verdict, give_verdict
from ablate2tune.errors import UserError
from ablate2tune.models import Denoiser
from ablate2tune.pictures import read_images
from ablate2tune.progress import Progress
from ablate2tune.scenes.dataset.records import SceneRecord, load_images
from ablate2tune.scenes.scenes_config import ScenesConfig
from ablate2tune.statistics.rates import Difference, Rate
from ablate2tune.statistics.resampling import Resampling

SCHEMA = "ablate2tune/scores/1"
ARMS = ("before", "after")


@dataclass(frozen=True)
class Scores:
    """The comparison's result, as in `scores.json`."""

    before: Figures[Rate]
    after: Figures[Rate]
    difference: Figures[Difference]
    judge: dict[str, Any]
    """The judge's description, and its `calibration`: its own error on rendered scenes."""
    prompts: int
    """Relation prompts."""
    plain_prompts: int
    """Prompts without a relation."""
    seeds: int
    """Images per prompt and arm."""
    confidence: float

    def as_dict(self) -> dict[str, Any]:
        """As in the result file."""
        return {
            "schema": SCHEMA,
            "prompts": self.prompts,
            "plain_prompts": self.plain_prompts,
            "seeds": self.seeds,
            "confidence": self.confidence,
            "before": self.before.as_dict(),
            "after": self.after.as_dict(),
            "difference": self.difference.as_dict(),
            "judge": self.judge,
        }


def compare(
    denoiser: Denoiser,
    adapter: Path,
    scenes: ScenesConfig,
    calibration_records: Sequence[SceneRecord],
    config: CompareConfig,
    seed: int,
    folder: Path,
    on_progress: Progress | None = None,
) -> Scores | None:
    """Measure the judge, make the pictures of both arms, judge them and write everything down.

    Leaves `images/before/`, `images/after/`, `verdicts.jsonl`, `grid.png` and, last,
    `scores.json` below `folder`. Pictures that are there and whole are kept, so an interrupted
    comparison is taken up again and ends with the same files; the folder must therefore belong to
    one set of inputs, which `runs.RunDir` sees to. Without a judge the rows of `verdicts.jsonl`
    hold no detections and no verdict, the grid bears no marks, and there is no `scores.json`.

    Args:
        denoiser: the base model, without adapters.
        adapter: folder that `Denoiser.save_adapter` or another tool wrote.
        scenes: objects, colours, relations and hold-out the prompts are drawn from.
        calibration_records: rendered scenes, of the test split, to measure the judge on.
        config: numbers of prompts and images, the judge, resampling.
        seed: fixes prompts, noise, grid rows and resampling.
        folder: the stage's folder.
        on_progress: called with (images there, images of both arms).

    Returns:
        The scores; None without a judge.

    Raises:
        UserError: the adapter or the judge is missing or does not fit, there are not enough
            held-out pairs, there is nothing to calibrate on, or the folder cannot be written.
    """
    misfit = denoiser.adapter_misfit(adapter)
    if misfit:
        raise UserError(misfit, where=str(adapter), mend="train the adapter on this model")
    relational = relation_prompts(scenes, config.prompts, seed)
    plain = plain_prompts(scenes, config.plain_prompts, seed)
    jobs = plan(relational, plain, config.seeds, seed)
    chosen = choose_rows(relational, config.grid_rows, seed)
    how = Resampling(seed, config.bootstrap, config.confidence)

    # 1. What the judge's word is worth.
    judge, calibration = None, {}
    if config.judge is not None:
        labels = [f"{colour} {kind}" for colour in scenes.colours for kind in scenes.objects]
        judge = load_judge(config.judge, denoiser.device, labels)
        drawn = calibration_sample(calibration_records, config.calibration_images, seed)
        calibration = _measure(judge, drawn, [*relational, *plain], how)

    # 2. The pictures, base model first.
    report = on_progress or (lambda done, total: None)
    folders = {arm: folder / "images" / arm for arm in ARMS}
    total = 2 * len(jobs)
    make_images(denoiser, jobs, config, folders["before"], lambda done: report(done, total))
    with adapted(denoiser, adapter):
        make_images(
            denoiser, jobs, config, folders["after"], lambda done: report(len(jobs) + done, total)
        )

    # 3. Verdicts.
    (folder / "scores.json").unlink(missing_ok=True)
    verdicts: dict[str, list[Verdict]] = {}
    rows = []
    for arm in ARMS:
        if judge is None:
            rows += [_row(arm, job, None, None) for job in jobs]
            continue
        found = judge.detect(_pictures(folders[arm], jobs), JUDGED_AT_ONCE)
        verdicts[arm] = [give_verdict(j.prompt, d) for j, d in zip(jobs, found, strict=True)]
        rows += [
            _row(arm, job, detections, verdict)
            for job, detections, verdict in zip(jobs, found, verdicts[arm], strict=True)
        ]
    runs.write_jsonl(folder / "verdicts.jsonl", rows)

    # 4. The picture for people, then the file that says the stage is whole.
    pairs = []
    for position in (row * config.seeds for row in chosen):
        before, after = (_pictures(folders[arm], [jobs[position]])[0] for arm in ARMS)
        read = [verdicts[arm][position] for arm in ARMS] if judge else [None, None]
        pairs.append(Pair(jobs[position].prompt, before, after, *read))
    draw_grid(pairs, folder / "grid.png", large_error(calibration) if judge else None)
    if judge is None:
        return None
    outcomes = {arm: _outcomes(jobs, verdicts[arm], config.seeds) for arm in ARMS}
    before, after, difference = score(outcomes["before"], outcomes["after"], how)
    scores = Scores(
        before,
        after,
        difference,
        {**judge.describe(), "calibration": calibration},
        prompts=len(relational),
        plain_prompts=len(plain),
        seeds=config.seeds,
        confidence=config.confidence,
    )
    runs.write_json(folder / "scores.json", scores.as_dict())
    return scores


def read_scores(path: Path) -> Scores:
    """Read a `scores.json` back.

    Raises:
        UserError: the file is missing, is not JSON, or is not of this schema.
    """
    held = runs.read_json(path)
    if held.pop("schema", None) != SCHEMA:
        raise UserError(f"not a result of schema {SCHEMA}", where=str(path))
    for part, kind in (("before", Rate), ("after", Rate), ("difference", Difference)):
        held[part] = read_figures(held[part], kind)
    return Scores(**held)


@contextmanager
def adapted(denoiser: Denoiser, adapter: Path) -> Iterator[None]:
    """The denoiser with the adapter of a folder; the base model is back afterwards.

    Raises:
        UserError: the file is damaged, or does not belong to this model.
    """
    denoiser.load_adapter(adapter)
    try:
        yield
    finally:
        denoiser.remove_adapter()


def _measure(
    judge: Judge, records: list[SceneRecord], prompts: Sequence[Prompt], how: Resampling
) -> dict[str, Any]:
    """The judge's own error, once it is known to know every object that will be asked for."""
    for prompt in prompts:
        check_label(judge, prompt.subject_label)
        check_label(judge, prompt.object_label)
    images = load_images(records) if records else np.zeros((0, 1, 1, 3), np.uint8)
    return calibrate(judge, records, images, how, JUDGED_AT_ONCE).as_dict()


def _pictures(folder: Path, jobs: Sequence[Job]) -> np.ndarray:
    return read_images([folder / job.file_name for job in jobs])


def _row(
    arm: str, job: Job, found: list[Detection] | None, verdict: Verdict | None
) -> dict[str, Any]:
    return {
        "schema": "ablate2tune/verdict/1",
        "arm": arm,
        "prompt": job.prompt.text,
        "relation": job.prompt.relation,
        "index": job.prompt.index,
        "repeat": job.repeat,
        "seed": job.image_seed,
        "image": f"images/{arm}/{job.file_name}",
        "detections": None if found is None else [_detection_row(one) for one in found],
        "verdict": None if verdict is None else verdict.as_dict(),
    }


def _detection_row(detection: Detection) -> dict[str, Any]:
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


def _outcomes(jobs: Sequence[Job], verdicts: Sequence[Verdict], repeats: int) -> Outcomes:
    pairs = list(zip(jobs, verdicts, strict=True))
    relational = [(job, v) for job, v in pairs if job.prompt.relation is not None]
    plain = [v for job, v in pairs if job.prompt.relation is None]

    def grid(values: list[bool]) -> np.ndarray:
        return np.array(values, dtype=bool).reshape(-1, repeats)

    return Outcomes(
        relations=[str(job.prompt.relation) for job, _ in relational[::repeats]],
        spatial=grid([bool(v.spatial) for _, v in relational]),
        objects=grid([v.objects for _, v in relational]),
        extra=grid([v.extra > 0 for _, v in relational]),
        plain_objects=grid([v.objects for v in plain]),
    )
