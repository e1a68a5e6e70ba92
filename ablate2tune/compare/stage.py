"""The stage compare: before and after on the same prompts and seeds."""

from typing import Any

from ablate2tune.compare.calibration import large_error
from ablate2tune.compare.compare import compare, read_scores
from ablate2tune.compare.judges import check_judge
from ablate2tune.compare.prompts import plain_prompts, relation_prompts
from ablate2tune.compare.table import scores_table
from ablate2tune.compare.tracking import track
from ablate2tune.errors import UserError
from ablate2tune.identity import identity
from ablate2tune.models import WEIGHTS, check_trainable, load_denoiser
from ablate2tune.recipe import Recipe
from ablate2tune.scenes.dataset.records import data_identity, read_dataset
from ablate2tune.stage import Job, Stage

UNJUDGED = (
    "compare: no judge is set, so the pictures are not scored; for figures, set compare.judge "
    "(docs/judges.md) and run compare again, which keeps the pictures"
)


def check(recipe: Recipe) -> None:
    """Refuse a judge that cannot be read, too few prompts, or a model that is not served."""
    check_judge(recipe.compare.judge)
    relation_prompts(recipe.scenes, recipe.compare.prompts, recipe.seed)
    plain_prompts(recipe.scenes, recipe.compare.plain_prompts, recipe.seed)
    check_trainable(recipe.model, "compare")


def inputs(recipe: Recipe) -> dict[str, Any]:
    """Seed, model, scenes, settings with the judge, and the adapter.

    Raises:
        UserError: there is no adapter.
    """
    adapter = recipe.run_folder / "train" / "adapter"
    if not (adapter / WEIGHTS).exists():
        raise UserError(
            "there is no adapter to compare",
            where=str(adapter),
            mend="run `ablate2tune train` with this recipe first",
        )
    return {
        "seed": recipe.seed,
        "model": recipe.model.decisive(),
        "data": data_identity(recipe.data_folder),
        "compare": recipe.compare.decisive(),
        "adapter": identity(adapter),
    }


def work(job: Job) -> None:
    """Make the pictures and judge them."""
    recipe = job.recipe
    records = read_dataset(recipe.data_folder)
    denoiser = load_denoiser(recipe.model)
    with job.terminal.bar("compare") as progress:
        compare(
            denoiser,
            recipe.run_folder / "train" / "adapter",
            recipe.scenes,
            [record for record in records if record.split == "test"],
            recipe.compare,
            recipe.seed,
            job.folder,
            progress,
        )


def present(job: Job) -> bool:
    """Hand the results to W&B; whether that went well."""
    tracked = track(job.folder, job.recipe.compare, job.recipe.model_dump(mode="json"))
    if tracked.line:
        job.terminal.say(tracked.line)
    return tracked.mode != "failed"


def tell(job: Job) -> None:
    """The scores, where a judge gave any, and the grid."""
    terminal, path = job.terminal, job.folder / "scores.json"
    if job.recipe.compare.judge is None:
        terminal.say(UNJUDGED)
    else:
        scores = read_scores(path)
        terminal.say(scores_table(scores))
        error = large_error(scores.judge["calibration"])
        if error:
            terminal.say(f"warning: {error}; take the figures above as rough")
    terminal.say(f"grid: {job.folder / 'grid.png'}")


STAGE = Stage(
    name="compare",
    inputs=inputs,
    work=work,
    check=check,
    presenting=lambda recipe: recipe.compare.presenting(),
    present=present,
    tell=tell,
    results=("images/**/*.png",),
    scratch=("wandb",),
    free=("compare.judge",),
)
