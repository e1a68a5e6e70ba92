"""The stage figures: what an adapter is worth on held-out scenes, and what it spoils."""

from pathlib import Path
from typing import Any

import numpy as np

from ablate2tune import files
from ablate2tune.disk.identity import identity
from ablate2tune.models import Denoiser, load_denoiser
from ablate2tune.pictures import png, read_images
from ablate2tune.recipe import Recipe
from ablate2tune.scenes.dataset.records import read_dataset
from ablate2tune.stage import Job, Stage
from ablate2tune.study.tuning import drift, held_out
from ablate2tune.study.tuning.arm_cells import FIGURES, FILE

MARGINS, PICTURES = "margins.jsonl", "pictures"
SCHEMA = "ablate2tune/figures/1"


def measured_on(recipe: Recipe) -> dict[str, Any]:
    """What decides the figures beside the adapter and what names the cell, JSON-able."""
    return {
        "seed": recipe.seed,
        "steps": recipe.compare.steps,
        "true_cfg_scale": recipe.compare.true_cfg_scale,
        "margin": [held_out.SIGMA, held_out.NOISES],
        "drift": [drift.SCENES, list(drift.SIGMAS), drift.PROMPTS],
    }


def figures_stage(study: Recipe, base: Path | None) -> Stage:
    """The stage that measures a run's adapter, or the untouched model.

    Args:
        study: the study's recipe, whose seed draws scenes, noise and prompts of all cells alike.
        base: folder of the untouched model's figures; None measures that.
    """

    def inputs(recipe: Recipe) -> dict[str, Any]:
        adapter = None if base is None else identity(recipe.run_folder / "train" / "adapter")
        return {"measured": {"adapter": adapter, **measured_on(study)}}

    def work(job: Job) -> None:
        recipe = job.recipe
        denoiser = load_denoiser(recipe.model)
        records = held_out.test_scenes(read_dataset(recipe.data_folder))
        before = drift.plain_predictions(denoiser, records, study.seed)
        if base is not None:
            denoiser.load_adapter(recipe.run_folder / "train" / "adapter")
        rows = held_out.held_out_margins(denoiser, records, study.seed)
        margins = held_out.by_relation(rows)
        figures: dict[str, Any] = {
            "schema": SCHEMA,
            "margin": float(np.mean(list(margins.values()))),
            "margins": margins,
        }
        wanted = drift.drawn_pictures(records, study.seed)
        config = study.compare
        sampler = config.steps, config.true_cfg_scale, config.batch_size
        drawn = denoiser.sample([p.prompt for p in wanted], [p.seed for p in wanted], *sampler)
        if base is None:
            for number, picture in enumerate(drawn):
                files.write_bytes(job.folder / PICTURES / f"{number:02d}.png", png(picture))
            figures |= {"parameters": 0, "plain_loss": before.loss}
        else:
            after = drift.plain_predictions(denoiser, records, study.seed)
            names = [f"{number:02d}.png" for number in range(len(wanted))]
            shown = read_images([base / PICTURES / name for name in names])
            features = _features(denoiser, shown), _features(denoiser, drawn)
            figures |= {
                "parameters": _parameters(recipe),
                "plain_loss": after.loss,
                "retention": before.loss - after.loss,
                "prediction_drift": drift.prediction_drift(before.predicted, after.predicted),
                "pixel_drift": drift.pixel_drift(shown, drawn),
                "feature_drift": drift.feature_drift(*features),
            }
        files.write_jsonl(job.folder / MARGINS, rows)
        files.write_json(job.folder / FILE, figures)

    return Stage(name=FIGURES, inputs=inputs, work=work, free=("measured",))


def _features(denoiser: Denoiser, pictures: np.ndarray) -> Any:
    return denoiser.encode_images(pictures).float().cpu()


def _parameters(recipe: Recipe) -> int:
    note = files.read_json(recipe.run_folder / "train" / "targets.json")
    return int(note["parameters"]["trainable"])
