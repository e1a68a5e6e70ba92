"""The stage figures for language models: the loss on texts that were not taught."""

from pathlib import Path
from typing import Any

import torch

from ablate2tune import files
from ablate2tune.disk.identity import identity
from ablate2tune.errors import UserError
from ablate2tune.localize.text.token_batch import TokenBatch
from ablate2tune.models import LanguageModel, load_language_model
from ablate2tune.recipe import Recipe
from ablate2tune.stage import Job, Stage
from ablate2tune.study.tuning.arm_cells import FIGURES, FILE
from ablate2tune.train.lessons.text_examples import TextExample, read_text

WHERE = "study.measured"
LOSSES = "losses.jsonl"
SCHEMA = "ablate2tune/text-figures/1"
MOST = 256
"""Examples of a text that are measured at most; the first."""
BATCH = 8
"""Texts of a forward pass."""


def data(recipe: Recipe) -> str:
    """Hash of what is taught and measured on."""
    paths = recipe.train.text, recipe.study.measured, recipe.study.beside
    return files.content_hash([None if path is None else identity(path) for path in paths])


def measured_on(recipe: Recipe) -> dict[str, Any]:
    """What decides the figures beside the adapter and what names the cell."""
    return {"texts": data(recipe), "length": recipe.train.length, "most": MOST}


def text_figures_stage(study: Recipe, base: Path | None) -> Stage:
    """The stage that measures a run's adapter, or the untouched model.

    Args:
        study: the study's recipe, which names the texts.
        base: folder of the untouched model's figures; None measures that.
    """

    def inputs(recipe: Recipe) -> dict[str, Any]:
        adapter = None if base is None else identity(recipe.run_folder / "train" / "adapter")
        return {"measured": {"adapter": adapter, **measured_on(study)}}

    def work(job: Job) -> None:
        recipe, config = job.recipe, study.study
        model = load_language_model(recipe.model)
        if base is not None:
            model.load_adapter(recipe.run_folder / "train" / "adapter")
        assert config.measured is not None, "the experiment has refused this"
        rows = _losses(model, config.measured, study.train.length, WHERE)
        figures: dict[str, Any] = {"schema": SCHEMA, "parameters": 0, "loss": _mean(rows)}
        if config.beside is not None:
            beside = _losses(model, config.beside, study.train.length, "study.beside")
            figures["beside_loss"] = _mean(beside)
        if base is not None:
            note = files.read_json(recipe.run_folder / "train" / "targets.json")
            figures["parameters"] = int(note["parameters"]["trainable"])
            if config.beside is not None:
                before = files.read_json(base / FILE)
                figures["spoiled"] = figures["beside_loss"] - before["beside_loss"]
        files.write_jsonl(job.folder / LOSSES, rows)
        files.write_json(job.folder / FILE, figures)

    return Stage(name=FIGURES, inputs=inputs, work=work, free=("measured",))


@torch.no_grad()
def _losses(model: LanguageModel, path: Path, length: int, where: str) -> list[dict[str, Any]]:
    """One row per example: `example`, `group`, `tokens` and the summed loss of these, `nats`."""
    examples = read_text(model, path, length, taught=False)[:MOST]
    if not examples:
        raise UserError("holds nothing to measure", where=f"{where} = {path}")
    rows: list[dict[str, Any]] = []
    for start in range(0, len(examples), BATCH):
        part = examples[start : start + BATCH]
        rows += map(_row, range(start, start + BATCH), part, _nats(model, part))
    return rows


def _nats(model: LanguageModel, part: list[TextExample]) -> list[float]:
    batch = TokenBatch.of([e.ids for e in part], [e.start for e in part], summed=True)
    return batch.losses(model).tolist()


def _row(number: int, example: TextExample, nats: float) -> dict[str, Any]:
    return {"example": number, "group": example.group, "tokens": example.scored, "nats": nats}


def _mean(rows: list[dict[str, Any]]) -> float:
    return sum(row["nats"] for row in rows) / sum(row["tokens"] for row in rows)
