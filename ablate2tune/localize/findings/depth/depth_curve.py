"""From streams to curves: what is read of each question over depth, and what that says."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ablate2tune.localize.findings.depth.caption_runs import (
    QUESTIONS,
    ROLE,
    SHOWN,
    STATED,
    Run,
    answers,
    caption_runs,
)
from ablate2tune.localize.findings.depth.linear_readouts import Task, read_out
from ablate2tune.localize.findings.depth.stream_features import INPUT, Key, Reduction, read_streams
from ablate2tune.localize.findings.finding import FINDINGS, Finding, Kind, Ranked
from ablate2tune.localize.findings.information import CHANCE, MIN_GROUPS
from ablate2tune.localize.margins.encoded_examples import Examples
from ablate2tune.localize.ranking.figures import bounds_of, new_panels, write_figure
from ablate2tune.localize.ranking.ranking import draws
from ablate2tune.statistics.clusters import Clusters

COLOURS = {"text": "tab:blue", "image": "tab:orange", "stream": "tab:green"}
STYLES = ("-", "--", "-.", ":")


def find_depth(ranked: Ranked) -> Finding:
    """Read every stream after every block at every noise level, and at pure noise.

    Every picture is run under four captions (see `depth.captions`), so whatever the noise level,
    a picture cannot give away what its caption says. At sigma = 1 there is no picture at all: what
    the image stream then says of the relation, the caption put there, and "relation shown" must be
    at chance. The readouts are cross-validated on the measured scenes and their penalties chosen on
    the calibration's; information.json takes the curve in.
    """
    sweep, rows = ranked.sweep, ranked.rows
    config, seed = sweep.config, sweep.seed
    sigmas = [*([] if 1.0 in config.sigmas else [1.0]), *config.sigmas]
    reduction = Reduction(seed)
    how = draws(config, seed)

    def read(examples: Examples, runs: Sequence[Run]) -> dict[Key, np.ndarray]:
        with sweep.probe.engine.blocks.running():
            return read_streams(
                ranked.denoiser, examples, runs, sigmas, seed, config.batch_size, reduction
            )

    runs, spare = caption_runs(ranked.split.measured), caption_runs(ranked.split.calibration)
    readings: list[dict[str, Any]] = []
    if len({run.group for run in runs}) >= MIN_GROUPS:
        # Calibration comes first: what is estimated without answers is estimated on it.
        tuning = read(sweep.probe.calibration.examples, spare) if spare else None
        found = read(sweep.probe.examples, runs)
        statistics: dict[str, Clusters] = {}
        for key, x in found.items():
            task = _task(runs, key, x)
            if key.part not in statistics:
                statistics[key.part] = Clusters(task.groups, how)
            other = None if tuning is None else _task(spare, key, tuning[key])
            place = {"block": key.block, "stream": key.stream, "sigma": sigmas[key.level]}
            for question, reading in zip(
                _questions(key), read_out(task, other, statistics[key.part], seed), strict=True
            ):
                readings.append({"question": question, **place, **reading.as_dict()})
    blocks = [INPUT, *(block.address for block in sweep.catalogue.blocks)]
    impacts = {r.component.address: dict(r.target) for r in rows if r.component.level == "block"}
    depth = {
        "figure": "accuracy of linear readouts after each block",
        "questions": QUESTIONS,
        "chance": CHANCE,
        "confidence": config.confidence,
        "sigmas": sigmas,
        "blocks": blocks,
        "readings": readings,
        "impacts": impacts,
    }
    depth["verdict"] = verdict(depth)
    data = {**(ranked.information or {}), "depth": depth}
    return Finding("information", data, draw_depth, depth["verdict"])


def _questions(key: Key) -> tuple[str, ...]:
    if key.part == "phrases":
        return (ROLE,)
    return (STATED, SHOWN) if key.stream == "text" else (STATED, SHOWN, ROLE)


def _task(runs: Sequence[Run], key: Key, x: np.ndarray) -> Task:
    groups = [run.group for run in runs]
    if key.part == "phrases":
        return Task(x, np.repeat([[1.0], [-1.0]], len(runs), axis=0), [*groups, *groups])
    return Task(x, answers(runs, _questions(key)), groups)


def verdict(depth: Mapping[str, Any]) -> str:
    """One line: from which block on the picture's tokens tell the caption's relation and role."""
    if not depth["readings"]:
        return f"information over depth: needs at least {MIN_GROUPS} contrast groups"
    said = [_said(depth, question) for question in (STATED, ROLE)]
    return f"information over depth: {'; '.join(said)}"


def _said(depth: Mapping[str, Any], question: str) -> str:
    name = {STATED: "the relation that the caption states", ROLE: "which object is its subject"}
    rows = [
        row for row in depth["readings"] if row["question"] == question and row["stream"] != "text"
    ]
    if not rows:
        return f"{name[question]} was not asked of the image stream"
    best = max(rows, key=lambda row: (row["above_chance"], row["accuracy"]["value"]))
    figure = best["accuracy"]
    shown = (
        f"{figure['value']:.0%} [{figure['low']:.0%}, {figure['high']:.0%}] after {best['block']} "
        f"at sigma {best['sigma']:g}, shuffled up to {best['shuffled']['highest']:.0%}"
    )
    if not best["decidable"]:
        return f"too few contrast groups to tell whether {name[question]} can be read"
    if not best["above_chance"]:
        return f"{name[question]} cannot be read from the {best['stream']} stream (best {shown})"
    first, last = _stretch(depth["blocks"], rows, best)
    span = first if first == last else f"{first} to {last}"
    return (
        f"{name[question]} can be read from the {best['stream']} stream after {span} (best {shown})"
    )


def _stretch(
    blocks: Sequence[str], rows: Sequence[dict[str, Any]], best: dict[str, Any]
) -> tuple[str, str]:
    """The first and last of the blocks around the best without one at chance, at its level."""
    told = {
        row["block"]
        for row in rows
        if row["above_chance"] and all(row[k] == best[k] for k in ("stream", "sigma"))
    }
    first = last = blocks.index(best["block"])
    while first > 0 and blocks[first - 1] in told:
        first -= 1
    while last + 1 < len(blocks) and blocks[last + 1] in told:
        last += 1
    return blocks[first], blocks[last]


def draw_depth(data: dict[str, Any], path: Path) -> None:
    """A panel per question with a line per stream and noise level, over the blocks' impacts."""
    depth = data["depth"]
    blocks, impacts = depth["blocks"], depth["impacts"]
    x = np.arange(len(blocks))
    width = max(8, 3 + 0.3 * len(blocks))
    figure, panels = new_panels(width, 11, len(QUESTIONS) + 1)
    for axes, question in zip(panels, QUESTIONS, strict=False):
        own = [row for row in depth["readings"] if row["question"] == question]
        for stream in dict.fromkeys(row["stream"] for row in own):
            for level, sigma in enumerate(depth["sigmas"]):
                line = {
                    row["block"]: row["accuracy"]
                    for row in own
                    if row["stream"] == stream and row["sigma"] == sigma
                }
                value, low, high = 100 * bounds_of([line.get(block) for block in blocks])
                colour, style = COLOURS[stream], STYLES[level % len(STYLES)]
                label = f"{stream}, sigma {sigma:g}"
                axes.plot(x, value, style, color=colour, marker="o", markersize=3, label=label)
                axes.fill_between(x, low, high, color=colour, alpha=0.07)
        shuffled = [row["shuffled"]["highest"] for row in own]
        axes.axhline(100 * CHANCE, color="0.6", linewidth=0.8)
        if own:
            axes.axhline(100 * max(shuffled), color="0.6", linewidth=0.8, linestyle=":")
            axes.legend(fontsize=6, loc="upper left", bbox_to_anchor=(1, 1))
        axes.set_ylabel("accuracy, %")
        axes.set_title(f"{question} (dotted: best of all shuffled answers)", fontsize=9)
    bars = panels[-1]
    for place, block in enumerate(blocks):
        if block in impacts:
            bars.bar(place, impacts[block]["value"], color="0.6")
            bars.plot([place] * 2, [impacts[block][k] for k in ("low", "high")], color="black")
    bars.axhline(0, color="0.6", linewidth=0.8)
    bars.set_title("target impact of the block", fontsize=9)
    bars.set_xticks(x, blocks, rotation=45, ha="right", fontsize=7)
    write_figure(figure, path)


def _wanted(ranked: Ranked) -> bool:
    return ranked.config.information == "depth" and ranked.sweep.processes.is_first


FINDINGS.add("depth", Kind(_wanted, find_depth, takes="information", of_skill=False))
