"""Weights & Biases, built from the local result files alone; it can never fail the job."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from ablate2tune import files
from ablate2tune.compare.grid.grid_page import reading
from ablate2tune.compare.metrics import METRICS
from ablate2tune.compare.scores import DRAWN, Scores, read_scores
from ablate2tune.compare.scores import FILE as SCORES
from ablate2tune.compare.shown import Shown, read_shown
from ablate2tune.errors import reason

INIT_TIMEOUT, FINISH_TIMEOUT = 30.0, 300.0
"""Seconds to wait for the server before the run is kept offline, and for the upload at the end."""
AT_ONCE = 100
"""Pictures under one key; W&B shows 108 of them at most."""
TAG = 64
"""Characters of a tag, at most."""
Mode = Literal["online", "offline", "off"]
Table = tuple[list[Any], list[Any]]
"""Columns and rows."""


class Labels(NamedTuple):
    """By what the run is found."""

    project: str
    name: str
    group: str
    tags: Sequence[str]
    config: dict[str, Any]
    """The resolved recipe, and what each adapter was trained on."""


class TrackResult(NamedTuple):
    """How the run was tracked."""

    mode: str
    """online, offline, off, or failed."""
    line: str | None
    """The one line to print: where the run is, how to sync it, or what went wrong."""
    folder: Path | None = None
    """The run's folder, for `wandb sync`."""


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


def tracking_mode(wanted: Literal["auto", "offline", "off"]) -> Mode:
    """How a run is tracked: as the recipe and `WANDB_MODE` want it, online only when logged in.

    The API key is looked for in the environment, W&B's settings and netrc, and never asked for.
    """
    if wanted == "off":
        return "off"
    by_environment = os.environ.get("WANDB_MODE", "")
    if by_environment == "disabled":
        return "off"
    if wanted == "offline" or by_environment in ("dryrun", "offline"):
        return "offline"
    return "online" if logged_in() else "offline"


def logged_in() -> bool:
    """Whether W&B would find credentials for its server, without asking for them."""
    import wandb
    from wandb.errors import AuthenticationError
    from wandb.sdk.lib import wbauth

    try:
        found = wbauth.authenticate_session(
            host=wandb.setup().settings.base_url,
            source="ablate2tune",
            prompt=False,
            update_session=False,
        )
    except AuthenticationError:  # a malformed key is no login
        return False
    return found is not None


def _log(folder: Path, training: Path | None, labels: Labels, mode: Mode) -> TrackResult:
    arms = read_shown(folder)
    path = folder / SCORES
    scores = read_scores(path) if path.exists() else None
    run, trouble = _start(folder, labels, mode)
    try:
        _log_training(run, training)
        _log_comparison(run, folder, arms, scores)
    finally:
        online, run_folder = run.settings.mode == "online", Path(run.dir).parent
        url = run.url if online else None  # asked for offline, W&B prints a warning of its own
        run.finish()
    if url:
        return TrackResult("online", f"W&B: {url}", run_folder)
    return TrackResult("offline", f"{trouble}W&B, offline: wandb sync {run_folder}", run_folder)


def _start(folder: Path, labels: Labels, mode: Mode) -> tuple[Any, str]:
    """A run, and what to say if the server could not be reached and it is offline instead."""
    import wandb
    from wandb.errors import CommError

    settings = wandb.Settings(
        silent=True, console="off", init_timeout=INIT_TIMEOUT, finish_timeout=FINISH_TIMEOUT
    )

    def start(mode: Mode) -> Any:
        return wandb.init(
            **labels._replace(tags=[tag[:TAG] for tag in labels.tags])._asdict(),
            job_type="compare",
            dir=str(folder),
            mode=mode,  # pyright: ignore[reportArgumentType]
            settings=settings,
        )

    if mode == "offline":
        return start("offline"), ""
    try:
        return start("online"), ""
    except CommError as error:  # no network, a refused key, ...
        return start("offline"), f"warning: W&B could not be reached ({reason(error)}). "


def _log_training(run: Any, training: Path | None) -> None:
    """Losses by step, and the sample grids where there are some."""
    import wandb

    rows = files.read_jsonl(training / "log.jsonl") if training else []
    run.define_metric("train/step", hidden=True)
    run.define_metric("train/*", step_metric="train/step")
    for row in rows:
        assert training is not None
        held_out = row.get("validation", {})
        values = {
            "loss": row["loss"],
            "gradient norm": row.get("grad_norm"),
            "learning rate": row["lr"],
            "validation": held_out.get("as_trained"),
            **{f"validation at {sigma}": x for sigma, x in held_out.get("by_sigma", {}).items()},
        }
        told = {f"train/{name}": value for name, value in values.items() if value is not None}
        grid = training / "samples" / f"step-{row['step']:06d}.png"
        if grid.exists():
            told["train/samples"] = wandb.Image(str(grid), caption=f"step {row['step']}")
        run.log({"train/step": row["step"], **told})


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
