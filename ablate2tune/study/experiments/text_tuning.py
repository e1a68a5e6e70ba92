"""The experiment text-tuning: an adapter on the modules that an arm chooses, measured on texts."""

from ablate2tune.errors import UserError
from ablate2tune.models import load_language_model
from ablate2tune.recipe import Recipe
from ablate2tune.study.experiment import EXPERIMENTS
from ablate2tune.study.tuning.arm_cells import Kind, tuning_experiment
from ablate2tune.study.tuning.text_figures import WHERE, data, measured_on, text_figures_stage
from ablate2tune.train.lessons.text_lessons import TextLessons
from ablate2tune.train.stage import check_text


def check(recipe: Recipe) -> None:
    """Refuse what `train` refuses, and a study without a text to measure on."""
    check_text(recipe)
    for name in ("measured", "beside"):
        path = getattr(recipe.study, name)
        if path is None and name == "measured":
            raise UserError(
                "there is no text to measure on",
                where=WHERE,
                mend="set it to text, or prompts with answers, that are not taught",
            )
        if path is not None and not path.exists():
            raise UserError("no such file or folder", where=f"study.{name} = {path}")


def _few(recipe: Recipe, count: int) -> TextLessons:
    assert recipe.train.text is not None, "`check` has refused this"
    return TextLessons(load_language_model(recipe.model), recipe.train.text)


KIND = Kind(
    load=load_language_model,
    data=data,
    measured_on=measured_on,
    figures_stage=text_figures_stage,
    few_lessons=_few,
)

EXPERIMENTS.add(
    "text-tuning",
    tuning_experiment(
        KIND,
        figure="loss",
        title="held-out loss, nats per token",
        higher_is_better=False,
        columns={"spoiled": "spoiled"},
        check=check,
    ),
)
