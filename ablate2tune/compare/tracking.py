"""Weights & Biases, built from the local result files alone; it can never fail the job."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

import numpy as np

from ablate2tune import files
from ablate2tune.compare.grid.grid_page import reading
from ablate2tune.compare.metrics import METRICS
from ablate2tune.compare.scores import DRAWN, Scores, read_scores
from ablate2tune.compare.scores import FILE as SCORES
from ablate2tune.compare.shown import Shown, read_shown
from ablate2tune.errors import reason
from ablate2tune.tracking.training_run import define_curves, log_row
from ablate2tune.tracking.wandb_run import Labels, Mode, TrackResult, finish_run, start_run

AT_ONCE = 100
"""Pictures under one key; W&B shows 108 of them at most."""
Table = tuple[list[Any], list[Any]]
"""Columns and rows."""


def track(folder: Path, training: Path | None, labels: Labels, mode: Mode) -> TrackResult:
    """Hand a finished comparison to W&B: training curve, samples, grid, pictures, scores.

    Everything that the run shows is copied into its own folder below `folder`, which can be moved
    and synchronised from wherever it is then. Nothing is raised: a failure becomes the result's
    line.

    Args:
        folder: the compare stage's folder, with verdicts.jsonl, grid.png, images and, where a
            judge read them, scores.json; W&B's own files go below it.
        training: the train stage's folder, if its adapter is one of the arms.
        labels: by what the run is found.
        mode: as `tracking_mode` says.
    """
    if mode == "off":
        return TrackResult("off", None)
    try:
        return _log(folder, training, labels, mode)
    except Exception as error:  # whatever W&B raises, the results are already on the disk
        return TrackResult(
            "failed",
            f"warning: W&B tracking failed ({reason(error)}); results are in {folder}, "
            "the same command tries again",
        )


def _log(folder: Path, training: Path | None, labels: Labels, mode: Mode) -> TrackResult:
    arms = read_shown(folder)
    path = folder / SCORES
    scores = read_scores(path) if path.exists() else None
    run, trouble = start_run(folder, labels, mode, "compare")
    try:
        _log_training(run, training)
        _log_comparison(run, folder, arms, scores)
    finally:
        result = finish_run(run, trouble)
    return result


def _log_training(run: Any, training: Path | None) -> None:
    """Losses by step, and the sample grids where there are some."""
    rows = files.read_jsonl(training / "log.jsonl") if training else []
    define_curves(run)
    for row in rows:
        assert training is not None
        grid = training / "samples" / f"step-{row['step']:06d}.png"
        log_row(run, row, grid if grid.exists() else None)


def _log_comparison(
    run: Any, folder: Path, arms: Mapping[str, Sequence[Shown]], scores: Scores | None
) -> None:
    import wandb

    run.log({"grid": wandb.Image(str(folder / "grid.png"), caption=" | ".join(arms))})
    for key, pictures in _pictures(arms):
        run.log({key: pictures})
    tables = {"prompts": _prompt_table(arms)}
    if scores is not None:
        tables |= {"figures": _figure_table(scores), "drawn": _drawn_table(scores)}
        for part in ("arms", "difference", "judge"):
            run.summary[part] = scores.as_dict()[part]
    run.summary["judged"] = scores is not None
    for key, (columns, rows) in tables.items():
        table = wandb.Table(columns=columns, data=rows)
        # A table that is logged unbound becomes an artifact, staged outside the run by an absolute
        # path: the run would break when it is moved.
        table.bind_to_run(run, key, run.step)
        run.log({key: table})


def _pictures(arms: Mapping[str, Sequence[Shown]]) -> Iterator[tuple[str, list[Any]]]:
    """All arms side by side for each prompt and seed, by relation, with captions."""
    import wandb

    rows: dict[str, list[tuple[Shown, ...]]] = {}
    for row in zip(*arms.values(), strict=True):
        rows.setdefault(row[0].prompt.relation or "no relation", []).append(row)
    for relation, those in rows.items():
        for start in range(0, len(those), AT_ONCE):
            key = f"pictures/{relation}" + (f" {start // AT_ONCE + 1}" if start else "")
            pictures = []
            for row in those[start : start + AT_ONCE]:
                pixels = np.concatenate([one.pixels() for one in row], axis=1)
                pictures.append(wandb.Image(pixels, caption=_caption(arms, row)))
            yield key, pictures


def _caption(arms: Mapping[str, Sequence[Shown]], row: Sequence[Shown]) -> str:
    """What was asked for and read: "a red ball ... (seed 7) | before ✗ behind | after ✓ ..."."""
    told = [
        f"{arm} {reading(one.prompt, one.verdict)}" if one.verdict else arm
        for arm, one in zip(arms, row, strict=True)
    ]
    return " | ".join([f"{row[0].prompt.text} (seed {row[0].seed})", *told])


def _prompt_table(arms: Mapping[str, Sequence[Shown]]) -> Table:
    """A row for each prompt and seed; what was read in each arm, where a judge did."""
    judged = all(one.verdict is not None for shown in arms.values() for one in shown)
    read = ("right", "objects", "read") if judged else ()
    rows: list[list[Any]] = []
    for row in zip(*arms.values(), strict=True):
        rows.append([row[0].prompt.text, row[0].prompt.relation, row[0].seed])
        for one in row if judged else ():
            rows[-1] += [one.read.spatial, one.read.objects, one.read.relation_read]
    return ["prompt", "relation", "seed", *(f"{arm}: {x}" for arm in arms for x in read)], rows


def _figure_table(scores: Scores) -> Table:
    """A row for each figure, relation and arm, with its difference from the reference."""
    rows = []
    for arm, figures in scores.arms.items():
        gap = scores.difference.get(arm)
        everything = [("all", figures.overall, gap.overall if gap else {})]
        for relation, own in figures.per_relation.items():
            everything.append((relation, own, gap.per_relation[relation] if gap else {}))
        for relation, own, changes in everything:
            for key, figure in own.items():
                change = asdict(changes[key]) if key in changes else {}
                title = METRICS[key].title.strip() if key in METRICS else key
                told = (change.get(name) for name in ("value", "low", "high", "p"))
                rows.append([title, relation, arm, *astuple(figure), *told])
    gaps = ("difference", "difference low", "difference high", "p")
    return ["figure", "relation", "arm", "value", "low", "high", "n", *gaps], rows


def _drawn_table(scores: Scores) -> Table:
    """How many pictures show what, by the relation that was asked for."""
    rows = [
        [relation, arm, *(row[name] for name in DRAWN)]
        for arm, figures in scores.arms.items()
        for relation, row in figures.drawn.items()
    ]
    return ["asked for", "arm", *DRAWN], rows
