"""The stage compare: arms on the same prompts and seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ablate2tune.compare.arms import Arm, arms_of, check_arms, check_files, doubts
from ablate2tune.compare.compare import compare
from ablate2tune.compare.grid.changes import Changes, changes
from ablate2tune.compare.grid.grid_page import choose_rows, draw_grid
from ablate2tune.compare.judge_error import large_error
from ablate2tune.compare.judges import check_judge
from ablate2tune.compare.prompts import plain_prompts, relation_prompts, unjudged_relations
from ablate2tune.compare.scores import FILE, derive_scores, read_scores
from ablate2tune.compare.scores_table import scores_table
from ablate2tune.compare.shown import ABOUT, Shown, read_shown
from ablate2tune.compare.tracking import track
from ablate2tune.disk.identity import identity
from ablate2tune.files import content_hash, read_json
from ablate2tune.models import check_fit, check_trainable, load_denoiser, shell_of
from ablate2tune.recipe import Recipe
from ablate2tune.run_dir import RunDir
from ablate2tune.scenes.dataset.records import data_identity, read_dataset
from ablate2tune.stage import Job, Stage
from ablate2tune.statistics.resampling import Resampling
from ablate2tune.tracking.wandb_run import Labels, tracking_mode

UNJUDGED = (
    "compare: no judge is set, so the pictures are not scored; for figures, set compare.judge "
    "(docs/judges.md) and run compare again, which keeps the pictures"
)
DRAWN_FROM = (
    "objects", "colours", "relations", "holdout", "world", "prompts", "sizes", "assets", "frame"
)  # fmt: skip
"""Keys of `scenes` that decide the prompts."""


def check(recipe: Recipe) -> None:
    """Refuse what can be known without weights: of judge, prompts, model, and other runs' adapters.

    Raises:
        UserError: a judge cannot be read or does not know an object, there are too few prompts or
            the model would cut one, it is not served, or an arm does not fit it.
    """
    scenes, config, seed = recipe.scenes, recipe.compare, recipe.seed
    prompts = relation_prompts(scenes, config.prompts, seed)
    prompts += plain_prompts(scenes, config.plain_prompts, seed)
    check_judge(config.judge, [label for one in prompts for label in one.labels])
    check_trainable(recipe.model, "compare")
    own, arms = _own(recipe), _arms(recipe)
    arms = [replace(arm, adapter=None) if arm.adapter == own else arm for arm in arms]
    check_files(arms)
    shell = shell_of(recipe.model)
    if shell is not None:
        check_fit(shell, [], [prompt.text for prompt in prompts])
        check_arms(shell, arms)


def inputs(recipe: Recipe) -> dict[str, Any]:
    """Seed, model, data set, what decides the prompts, settings with the judge, and the arms.

    Raises:
        UserError: an arm has no adapter.
    """
    arms = _arms(recipe)
    check_files(arms)
    settings = recipe.compare.decisive()
    del settings["arms"]
    return {
        "seed": recipe.seed,
        "model": recipe.model.decisive(),
        "data": data_identity(recipe.data_folder),
        "scenes": recipe.scenes.model_dump(mode="json", include=set(DRAWN_FROM)),
        "compare": settings,
        "arms": {arm.name: arm.content for arm in arms},
    }


def work(job: Job) -> None:
    """Make the pictures and have them judged."""
    recipe = job.recipe
    records = read_dataset(recipe.data_folder)
    denoiser = load_denoiser(recipe.model)
    _say_doubts(job)
    with job.terminal.bar("compare") as progress:
        compare(
            denoiser,
            _arms(recipe),
            recipe.scenes,
            records,
            recipe.compare,
            recipe.seed,
            job.folder,
            model=content_hash(recipe.model.decisive()),
            on_progress=progress,
        )


def present(job: Job) -> bool:
    """Scores and grid from the verdicts, and all of it to W&B; whether that went well."""
    recipe, config = job.recipe, job.recipe.compare
    arms, reference = read_shown(job.folder), config.reference_arm
    how = Resampling(recipe.seed, config.bootstrap, config.confidence)
    scores = derive_scores(job.folder, arms, reference, how)

    first = [i for i, one in enumerate(arms[reference]) if one.repeat == 0 and one.prompt.relation]
    chosen = choose_rows([arms[reference][i].prompt for i in first], config.grid_rows, recipe.seed)
    rows = [{arm: shown[first[i]] for arm, shown in arms.items()} for i in chosen]
    remark = large_error(scores.judge["calibration"]) if scores and scores.judge else None
    draw_grid(
        rows,
        job.folder / "grid.png",
        changed=_changed(arms, reference) if scores else None,
        prompts=len(first),
        remark=remark,
    )

    own = _own(recipe)
    training = own.parent if any(arm.adapter == own for arm in _arms(recipe)) else None
    tracked = track(job.folder, training, _labels(job), tracking_mode(config.wandb))
    if tracked.line:
        job.terminal.say(tracked.line)
    return tracked.mode != "failed"


def tell(job: Job) -> None:
    """The scores, where a judge gave any, what makes them doubtful, and the grid."""
    terminal, path = job.terminal, job.folder / FILE
    if path.exists():
        scores = read_scores(path)
        terminal.say(scores_table(scores))
        changed = _changed(read_shown(job.folder), scores.reference)
        for arm, (related, _) in changed.items():
            terminal.say(related.line(scores.reference, arm))
        error = large_error(scores.judge["calibration"]) if scores.judge else None
        if error:
            terminal.say(f"warning: {error}; take the figures above as rough")
    unjudged = unjudged_relations(job.recipe.scenes)
    if unjudged:
        terminal.say(f"no prompt asks for {', '.join(unjudged)}, which no judge reads")
    if job.recipe.compare.judge is None:
        terminal.say(UNJUDGED)
    _say_doubts(job)
    terminal.say(f"grid: {job.folder / 'grid.png'}")


def _changed(
    arms: Mapping[str, Sequence[Shown]], reference: str
) -> dict[str, tuple[Changes, Changes]]:
    """What each other arm changed: with a relation in the prompt, and without."""
    base = arms[reference]
    return {
        arm: (changes(base, shown, related=True), changes(base, shown, related=False))
        for arm, shown in arms.items()
        if arm != reference
    }


def _presenting(recipe: Recipe) -> dict[str, Any]:
    """With another login, too, what was kept offline is shown anew."""
    return {**recipe.compare.presenting(), "tracking": tracking_mode(recipe.compare.wandb)}


def _own(recipe: Recipe) -> Path:
    return recipe.run_folder / "train" / "adapter"


def _arms(recipe: Recipe) -> list[Arm]:
    return arms_of(recipe.compare.arms, _own(recipe))


def _say_doubts(job: Job) -> None:
    recipe, own = job.recipe, _own(job.recipe)
    said = {"seed": recipe.seed, "rank": recipe.train.rank}
    base, size = identity(recipe.model.path), (recipe.model.width, recipe.model.height)
    arms = _arms(recipe)
    for line in doubts(arms, base, size, own, said):
        job.terminal.say(line)
    trained = {"train": recipe.train.decisive()}
    found = RunDir(recipe.run_folder, {}).otherwise("train", trained)
    found = [line for line in found if not line.startswith("train.rank ")]  # said above
    if found and any(arm.adapter == own for arm in arms):
        job.terminal.say(
            f"warning: the run's adapter was trained with other settings: {'; '.join(found[:3])}; "
            "`ablate2tune train` says how to train anew"
        )


def _labels(job: Job) -> Labels:
    recipe = job.recipe
    about = read_json(job.folder / ABOUT)
    judge = recipe.compare.judge
    return Labels(
        project=recipe.compare.wandb_project,
        name=f"{recipe.name}-seed{recipe.seed}",
        group=recipe.name,
        tags=[
            Path(recipe.model.path).name,
            f"targets {recipe.train.targets}",
            f"judge {judge.kind if judge else 'none'}",
        ],
        config={**recipe.model_dump(mode="json"), "compared": about["arms"]},
    )


STAGE = Stage(
    name="compare",
    inputs=inputs,
    work=work,
    check=check,
    presenting=_presenting,
    present=present,
    tell=tell,
    results=("verdicts.jsonl",),
    keyed=("images",),
    scratch=("wandb",),
    free=("arms", "compare.judge", "compare.calibration_images"),
)
