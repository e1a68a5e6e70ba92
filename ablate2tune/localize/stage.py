"""The stage localize: components ranked by the evidence that the recipe asks for."""

from pathlib import Path
from typing import Any

from ablate2tune.compare.judges.judging import judging
from ablate2tune.contrasts.contrast import TRAINING
from ablate2tune.contrasts.makers.rendered_scenes import scene_contrasts
from ablate2tune.contrasts.reading import maker_of, read_contrasts
from ablate2tune.errors import UserError
from ablate2tune.localize.localizing import localize
from ablate2tune.localize.own.ranking_on_own import localize_on_own
from ablate2tune.localize.probes.probe import PROBES, Needs
from ablate2tune.localize.ranking.ranking_figures import table
from ablate2tune.localize.ranking.ranking_file import Ranking
from ablate2tune.localize.scout.scout_training import scout_config
from ablate2tune.localize.scout.scouting import localize_by_scout
from ablate2tune.models import (
    check_fit,
    check_language_model,
    check_model,
    check_trainable,
    is_language_model,
    load_denoiser,
    load_language_model,
)
from ablate2tune.progress import Progress
from ablate2tune.recipe import Recipe
from ablate2tune.scenes.dataset.caption_rates import kept_rates, read_rates
from ablate2tune.scenes.dataset.records import data_identity, read_dataset
from ablate2tune.stage import Job, Stage
from ablate2tune.statistics.resampling import Resampling


def needs(recipe: Recipe) -> Needs:
    """What the recipe's probe needs.

    Raises:
        UserError: nothing could be measured.
    """
    config = recipe.localize
    return PROBES[config.probe].needs(config.section(), recipe.compare.judge is not None)


def needs_scenes(recipe: Recipe) -> bool:
    """Whether rendered scenes are read: measured, taught, calibrated on, or shown to the judge."""
    asked, config = needs(recipe), recipe.localize
    if PROBES[config.probe].language:
        return False
    measured = bool(asked.groups) or config.calibrated_groups > 0
    return asked.judge or _scouts(recipe) or (measured and config.contrasts is None)


def _scouts(recipe: Recipe) -> bool:
    return recipe.localize.rank_by == "scout"


def check(recipe: Recipe) -> None:
    """Refuse a model, a device or examples that are not there, or a family that can't be taught.

    And gradients of weights that are kept in few bits.
    """
    folder = recipe.localize.contrasts
    probe = PROBES[recipe.localize.probe]
    if probe.language:
        check_language_model(recipe.model)
        needs(recipe)
        if folder is None and not probe.reads_own:
            raise UserError(
                f"probe {probe.name} has no examples",
                where="localize.contrasts",
                mend="set it to a choices.jsonl (docs/language-models.md)",
            )
    elif is_language_model(recipe.model.path):
        raise UserError(
            f"probe {probe.name} measures pictures, and this is a language model",
            where=f"model.path = {recipe.model.path}",
            mend="set localize.probe to perplexity or choice",
        )
    elif _scouts(recipe):
        check_trainable(
            recipe.model, "localize.rank_by=scout", mend="set localize.rank_by=impact or gradient"
        )
    else:
        check_model(recipe.model)
    gradient = recipe.localize.rank_by == "gradient" or recipe.localize.report_gradient
    if recipe.model.quantize and gradient:
        raise UserError(
            "weights of few bits have no gradient",
            where=f"model.quantize = {recipe.model.quantize}",
            mend="leave it out, or set localize.rank_by=impact and localize.report_gradient=false",
        )
    if folder is not None:
        if not folder.exists():
            raise UserError("no such folder or file", where=f"localize.contrasts = {folder}")
        _ = maker_of(folder)


def inputs(recipe: Recipe) -> dict[str, Any]:
    """Seed, model, examples, settings; the judge where pictures are judged; how a scout learns."""
    held = {
        "seed": recipe.seed,
        "model": recipe.model.decisive(),
        "localize": recipe.localize.decisive(),
    }
    if not _scouts(recipe):
        held["modules"] = recipe.train.count
    if needs_scenes(recipe):
        held["data"] = data_identity(recipe.data_folder)
    if needs(recipe).judge:
        held["judge"] = recipe.compare.decisive()["judge"]
    if _scouts(recipe):
        steps = recipe.localize.scout_steps or recipe.train.steps
        held["train"] = scout_config(recipe.train, steps).decisive()
        held |= kept_rates(read_rates(recipe.data_folder))
    return held


def rank(
    recipe: Recipe,
    folder: Path,
    on_progress: Progress | None = None,
) -> list[Ranking]:
    """Rank the model's components by the evidence that the recipe asks for.

    Args:
        recipe: the model, the contrasts, the probe, and the judge where it needs one.
        folder: of the stage.
        on_progress: told (done, in all).

    Returns:
        The ranking in ranking.json; then that of the model's own pictures, if both were asked for.

    Raises:
        UserError: what reading and judging the examples, `localize` and `localize_on_own` raise.
    """
    config, compare, seed = recipe.localize, recipe.compare, recipe.seed
    if PROBES[config.probe].language:
        return [_rank_text(recipe, folder, on_progress)]
    records = read_dataset(recipe.data_folder) if needs_scenes(recipe) else []
    given = config.contrasts
    contrasts = read_contrasts(given) if given else scene_contrasts(records)
    denoiser = load_denoiser(recipe.model)
    texts = [text for example in contrasts.examples for text in example.texts.values()]
    check_fit(denoiser, [example.payload for example in contrasts.examples], texts)
    arguments = denoiser, contrasts.of(TRAINING)
    if _scouts(recipe):
        learning = records, recipe.train
        return [localize_by_scout(*arguments, *learning, config, seed, folder, on_progress)]
    judge = None
    if needs(recipe).judge:
        how = Resampling(seed, config.bootstrap, config.confidence)
        judge = judging(compare.judge, records, compare.calibration_images, how, denoiser.device)
    count = recipe.train.count
    arguments = *arguments, config, seed, folder
    if config.images == "rendered":
        return [localize(*arguments, on_progress, recipe.means_folder, judge, count)]
    assert judge is not None, "own pictures are judged"
    found = localize_on_own(*arguments, judge, on_progress, recipe.means_folder, count)
    return [found.primary, *([found.own] if found.own else [])]


def _rank_text(recipe: Recipe, folder: Path, on_progress: Progress | None) -> Ranking:
    """Rank the components of a language model."""
    config = recipe.localize
    model, probe = load_language_model(recipe.model), PROBES[config.probe]
    if probe.reads_own:
        examples = probe.own_examples(config.section(), model)
    else:
        assert config.contrasts is not None, "`check` has refused this"
        examples = read_contrasts(config.contrasts).of(TRAINING)
    return localize(model, examples, config, recipe.seed, folder, on_progress)


def work(job: Job) -> None:
    """Rank, and say what was found."""
    with job.terminal.bar("localize") as progress:
        rankings = rank(job.recipe, job.folder, progress)
    for ranking in rankings:
        job.terminal.say(table(ranking.data))
        for message in ranking.messages():
            job.terminal.say(message)


def tell(job: Job) -> None:
    """Where the ranking is."""
    job.terminal.say(f"ranking and heat map in {job.folder}")


STAGE = Stage(
    name="localize",
    inputs=inputs,
    work=work,
    check=check,
    tell=tell,
    several_processes=True,
    results=("**/*.jsonl", "**/*.png", "ranking.json"),
    keyed=("cache",),
    scratch=("cache",),
)
