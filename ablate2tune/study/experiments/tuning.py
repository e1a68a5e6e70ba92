"""The experiment tuning: an adapter on the modules that an arm chooses, measured on test scenes."""

import functools

from ablate2tune.models import check_trainable, load_denoiser
from ablate2tune.recipe import Recipe
from ablate2tune.scenes.dataset.records import data_identity, read_dataset
from ablate2tune.study.experiment import EXPERIMENTS
from ablate2tune.study.tuning.arm_cells import SHARED, Kind, tuning_experiment
from ablate2tune.study.tuning.figures_stage import figures_stage, measured_on
from ablate2tune.study.tuning.finalists import compare_finalists
from ablate2tune.train.lessons.picture_lessons import PictureLessons

_data = functools.cache(data_identity)


def _few(recipe: Recipe, count: int) -> PictureLessons:
    records = [r for r in read_dataset(recipe.data_folder) if r.split == "train"]
    return PictureLessons(load_denoiser(recipe.model), records[:count], sample_steps=1)


KIND = Kind(
    load=load_denoiser,
    data=lambda recipe: _data(recipe.data_folder),
    measured_on=measured_on,
    figures_stage=figures_stage,
    few_lessons=_few,
    own=lambda studied: {"train.cache": str(studied.folder / SHARED / "encoded")},
)

EXPERIMENTS.add(
    "tuning",
    tuning_experiment(
        KIND,
        figure="margin",
        title="held-out margin",
        parts="margins",
        columns={"prediction_drift": "drift", "pixel_drift": "pixels"},
        check=lambda recipe: check_trainable(recipe.model, "study"),
        finish=compare_finalists,
    ),
)
