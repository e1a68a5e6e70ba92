"""The stage localize: components ranked by the evidence that the recipe asks for."""

from typing import Any

from ablate2tune.localize.evidence import needs, needs_scenes, rank
from ablate2tune.localize.ranking.ranking_figures import table
from ablate2tune.models import check_fit, check_model, load_denoiser
from ablate2tune.recipe import Recipe
from ablate2tune.scenes.dataset.records import data_identity, read_dataset
from ablate2tune.stage import Job, Stage


def check(recipe: Recipe) -> None:
    """Refuse a model or a device that is not there."""
    check_model(recipe.model)


def inputs(recipe: Recipe) -> dict[str, Any]:
    """Seed, model, scenes, settings, and the judge where pictures are judged."""
    held = {
        "seed": recipe.seed,
        "model": recipe.model.decisive(),
        "localize": recipe.localize.decisive(),
    }
    if needs_scenes(recipe.localize, recipe.compare):
        held["data"] = data_identity(recipe.data_folder)
    if needs(recipe.localize, recipe.compare).judge:
        held["judge"] = recipe.compare.decisive()["judge"]
    return held


def work(job: Job) -> None:
    """Rank, and say what was found."""
    recipe = job.recipe
    scenes = needs_scenes(recipe.localize, recipe.compare)
    records = read_dataset(recipe.data_folder) if scenes else []
    denoiser = load_denoiser(recipe.model)
    texts = [text for r in records for text in (r.text, r.foil, r.foil_colour)]
    check_fit(denoiser, [record.image_path for record in records], texts)
    with job.terminal.bar("localize") as progress:
        rankings = rank(
            denoiser,
            records,
            recipe.localize,
            recipe.compare,
            recipe.seed,
            job.folder,
            progress,
            cache=recipe.means_folder,
        )
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
)
