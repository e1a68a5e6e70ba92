"""Image strips: what the model draws whole, and without each of the top components."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ablate2tune.files import write_bytes
from ablate2tune.localize.findings.finding import FINDINGS, Finding, Kind, Ranked
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.measuring.sweep import Sweep
from ablate2tune.localize.probes.margin import MarginProbe
from ablate2tune.localize.ranking.row import Row
from ablate2tune.localize.sampling import AblatedSampling
from ablate2tune.models import Denoiser
from ablate2tune.pictures import png
from ablate2tune.seeding import seed_for

SCHEMA = "ablate2tune/strips/1"
WHOLE = "whole model"
PROMPTS, STEPS = 4, 16
"""Captions that are drawn, as many as a page shows, and the sampling steps of each picture."""
TILE, GAP, LABEL = 192, 6, 34
"""Smallest width of a picture on the page, space between, height of a line of names; pixels."""


def make_strips(
    denoiser: Denoiser,
    sweep: Sweep[MarginProbe],
    rows: Sequence[Row],
    captions: Sequence[str],
    folder: Path,
) -> Finding:
    """Sample the captions with the whole model and without each of the best components.

    The pictures of one caption share their seed. Mode mean takes, at each sampling step, the means
    of the calibrated noise level whose timestep is nearest.

    Args:
        denoiser: the model.
        sweep: its calibration and recipe.
        rows: the ranking, all levels.
        captions: what to draw, a row each.
        folder: the pictures go to `folder/strips`.
    """
    config = sweep.config
    best = sorted(rows, key=lambda row: row.rank)[: config.strips]
    conditions = [Condition()] + [Condition((r.component.address,), r.mode) for r in best]
    seeds = [seed_for(sweep.seed, "strip", place) for place in range(len(captions))]
    sampling = AblatedSampling(
        denoiser, sweep.probe.calibration, sweep.probe.engine, sweep.probe.levels
    )
    sampling.prepare(conditions, write=sweep.processes.is_first)
    columns = []
    for number, condition in enumerate(conditions):
        with sampling.under(condition):
            pictures = denoiser.sample(list(captions), seeds, STEPS)
        files = [f"strips/{number:02d}-{place:02d}.png" for place in range(len(captions))]
        for file, picture in zip(files, pictures, strict=True):
            write_bytes(folder / file, png(picture))
        name = condition.addresses[0] if condition.addresses else WHOLE
        columns.append({"component": name, "mode": condition.mode, "files": files})
    data = {
        "schema": SCHEMA,
        "figure": "the same prompt and seed, with the whole model and without one component",
        "prompts": list(captions),
        "seeds": seeds,
        "steps": STEPS,
        "columns": columns,
    }
    return Finding("strips", data, draw_strips)


def draw_strips(data: dict[str, Any], path: Path) -> None:
    """A row per prompt, a column per component; the pictures are read beside the JSON."""
    pictures = [
        [Image.open(path.parent / file).convert("RGB") for file in column["files"]]
        for column in data["columns"]
    ]
    width, height = pictures[0][0].size
    scale = max(1, TILE // width)
    width, height = width * scale, height * scale
    row = LABEL // 2 + height + GAP
    page = Image.new(
        "RGB",
        (len(pictures) * (width + GAP) + GAP, LABEL + len(data["prompts"]) * row + GAP),
        "white",
    )
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=11)
    for x, (column, own) in enumerate(zip(data["columns"], pictures, strict=True)):
        left = GAP + x * (width + GAP)
        head, _, last = column["component"].rpartition(".")
        title = f"without {head}\n.{last}" if head else column["component"]
        draw.multiline_text((left, 4), title, "black", font)
        for y, picture in enumerate(own):
            top = LABEL + y * row + LABEL // 2
            page.paste(picture.resize((width, height), Image.Resampling.NEAREST), (left, top))
    for y, prompt in enumerate(data["prompts"]):
        draw.text((GAP, LABEL + y * row + 2), prompt, "gray", font)
    write_bytes(path, png(np.asarray(page)))


def _wanted(ranked: Ranked) -> bool:
    return ranked.config.strips > 0 and ranked.sweep.processes.is_first


def _find(ranked: Ranked) -> Finding:
    """Of true captions of the groups that the sweep would spend first, one each."""
    first: dict[str, str] = {}
    for contrast in ranked.split.measured:
        first.setdefault(contrast.cluster, contrast.text)
    captions = [first[group] for group in ranked.sweep.order()[:PROMPTS]]
    return make_strips(ranked.denoiser, ranked.sweep, ranked.rows, captions, ranked.folder)


FINDINGS.add("strips", Kind(_wanted, _find))
