"""The stage train: an adapter on the modules that the ranking chose."""

from pathlib import Path
from typing import Any

from torch import nn

from ablate2tune.components.configs import empty_models
from ablate2tune.components.discovery import discover
from ablate2tune.errors import UserError
from ablate2tune.files import content_hash, read_json
from ablate2tune.localize.ranking.model_map import write_map
from ablate2tune.localize.ranking.ordering import doubts
from ablate2tune.models import (
    check_language_model,
    check_trainable,
    is_language_model,
    load_denoiser,
    load_language_model,
    resolve_device,
    shell_of,
)
from ablate2tune.recipe import Recipe
from ablate2tune.run_dir import RunDir
from ablate2tune.scenes.dataset.caption_rates import kept_rates, read_rates
from ablate2tune.scenes.dataset.records import data_identity, read_dataset
from ablate2tune.stage import Job, Stage
from ablate2tune.tracking.training_run import RUN, TrainingRun, live_mode
from ablate2tune.tracking.wandb_run import Labels
from ablate2tune.train.lessons.lessons import Lessons
from ablate2tune.train.lessons.picture_lessons import PictureLessons, check_levels
from ablate2tune.train.lessons.text_lessons import TextLessons
from ablate2tune.train.lessons.user_pictures import read_user_pictures
from ablate2tune.train.memory.divided_model import check_divisible
from ablate2tune.train.methods.adapter_method import METHODS
from ablate2tune.train.optimizers.optimizer_kind import check_optimizer
from ablate2tune.train.placements.parameter_budget import choose
from ablate2tune.train.targets import (
    check_choice,
    falls_back,
    reasons,
    told,
    walked,
)
from ablate2tune.train.train_config import PICTURES
from ablate2tune.train.training_loop import teach
from ablate2tune.train.watching.idle_keys import idle_in

MAP = "map.png"


def check(recipe: Recipe) -> None:
    """Refuse a model that is not there or cannot be trained, modules or noise levels that it cannot
    have, and an unknown way to adapt.
    """
    method = METHODS[recipe.train.method]
    method.check_config(recipe.train)
    if recipe.model.quantize and method.reads_weights:
        raise UserError(
            f"{recipe.train.method} computes with the base's weights",
            where=f"model.quantize = {recipe.model.quantize}",
            mend="leave it out, or set train.method=lora",
        )
    check_optimizer(recipe.train, resolve_device(recipe.model.device))
    check_divisible(recipe.model, recipe.train, teaches_text(recipe))
    if teaches_text(recipe):
        check_text(recipe)
    else:
        check_trainable(recipe.model, "train")
        if recipe.train.data is not None and not recipe.train.data.is_dir():
            raise UserError("no such folder", where=f"train.data = {recipe.train.data}")
    pipeline = None if teaches_text(recipe) else shell_of(recipe.model)
    if pipeline is not None:
        check_levels(pipeline, recipe.train)
    shell = pipeline.model if pipeline else _shell(recipe)
    if shell is not None:
        check_choice(shell, recipe.train, recipe.seed)


def teaches_text(recipe: Recipe) -> bool:
    """Whether it is a language model that is taught."""
    return recipe.train.text is not None or is_language_model(recipe.model.path)


def check_text(recipe: Recipe) -> None:
    """Refuse a model or a text that is not there, and keys that speak of pictures.

    Raises:
        UserError: for all of these.
    """
    check_language_model(recipe.model)
    config = recipe.train
    if config.text is None:
        raise UserError(
            "there is no text to train on",
            where="train.text",
            mend="set it to a text file, a folder, or a .jsonl of prompts and answers",
        )
    if not config.text.exists():
        raise UserError("no such file or folder", where=f"train.text = {config.text}")
    if given := sorted(config.model_fields_set & PICTURES):
        raise UserError(
            "says nothing of a language model", where=f"train.{given[0]}", mend="leave it out"
        )


def _shell(recipe: Recipe) -> nn.Module | None:
    """What is adapted, on the meta device; None where its configuration is not here."""
    if not teaches_text(recipe):
        shell = shell_of(recipe.model)
        return shell and shell.model
    if not Path(recipe.model.path).is_dir():
        return None
    return next(module for _, module in empty_models(recipe.model.path))


def inputs(recipe: Recipe) -> dict[str, Any]:
    """Seed, model, scenes and their captions' rates, settings, and the order of the ranking.

    Raises:
        UserError: there is no ranking.
    """
    held: dict[str, Any] = {
        "seed": recipe.seed,
        "model": recipe.model.decisive(),
        "train": recipe.train.decisive(),
    }
    if not teaches_text(recipe) and sees_scenes(recipe):
        held["data"] = data_identity(recipe.data_folder)
        held |= kept_rates(read_rates(recipe.data_folder))
    if ranking := _ranking(recipe):
        order = [[row["address"], row["rank"]] for row in ranking["components"]]
        chosen = [[entry["address"] for entry in ranking["set"]]] if "set" in ranking else []
        held["ranking"] = content_hash(ranking["verdict"], order, *chosen)
    return held


def work(job: Job) -> None:
    """Choose the modules and train."""
    recipe = job.recipe
    ranking = _ranking(recipe) or {"components": []}
    lessons = lessons_of(recipe)
    for line in idle_in(recipe.train, lessons.studied):
        job.terminal.say(f"train: {line}")
    cost = METHODS[recipe.train.method].cost
    targets, ranks = choose(ranking, recipe.train, lessons.studied.model, recipe.seed, cost)
    if falls_back(ranking, recipe.train):
        job.terminal.say(
            f"train: there is no skill to rank by; all {len(targets)} modules are trained"
        )
    rows = reasons(ranking, targets)
    alone = recipe.train.model_copy(update={"neighbours": None})
    first, _ = choose(ranking, alone, lessons.studied.model, recipe.seed, cost)
    chosen = [row["address"] for row in walked({"components": reasons(ranking, first)})]
    for doubt in doubts(ranking, chosen) if recipe.train.targets == "top" else []:
        job.terminal.say(f"warning: {doubt}")
    _say_unlike(job)
    tracked = TrainingRun(job.folder, _labels(recipe), live_mode(recipe.compare.wandb))
    adapter = None
    try:
        with job.terminal.bar("train") as progress:
            adapter = teach(
                lessons,
                targets,
                recipe.train,
                recipe.seed,
                job.folder,
                ranks=ranks,
                ranking_rows=rows,
                on_progress=progress,
                on_message=job.terminal.say,
                on_step=tracked.log,
            ).adapter
    finally:
        if line := tracked.finish(adapter):
            job.terminal.say(line)


def _labels(recipe: Recipe) -> Labels:
    return Labels(
        project=recipe.compare.wandb_project,
        name=f"{recipe.name}-seed{recipe.seed}-train",
        group=recipe.name,
        tags=[Path(recipe.model.path).name, f"targets {recipe.train.targets}"],
        config=recipe.model_dump(mode="json"),
    )


def _say_unlike(job: Job) -> None:
    """Warn where the ranking that chooses the modules was made otherwise than the recipe says."""
    recipe = job.recipe
    if recipe.train.targets not in ("top", "bottom"):
        return
    said = {"model": recipe.model.decisive(), "localize": recipe.localize.decisive()}
    found = RunDir(recipe.run_folder, {}).otherwise("localize", {"seed": recipe.seed, **said})
    if found:
        job.terminal.say(
            f"warning: the ranking was made with other settings: {'; '.join(found[:3])}; "
            "`ablate2tune localize` says how to rank anew"
        )


def lessons_of(recipe: Recipe) -> Lessons:
    """The recipe's model with what it is taught."""
    if recipe.train.text is not None:
        return TextLessons(load_language_model(recipe.model), recipe.train.text)
    users = read_user_pictures(recipe.train.data) if recipe.train.data else []
    records = read_dataset(recipe.data_folder) if sees_scenes(recipe) else []
    denoiser = load_denoiser(recipe.model, encoders_first=True)
    return PictureLessons(denoiser, records, recipe.compare.steps, users)


def sees_scenes(recipe: Recipe) -> bool:
    """Whether the recipe's scenes are taught."""
    return recipe.train.data is None or recipe.train.data_share < 1


def present(job: Job) -> bool:
    """The map of the model with the modules that were tuned, where its shapes are known."""
    shell = _shell(job.recipe)
    if shell is not None:
        tuned = read_json(job.folder / "targets.json")["injected"]
        write_map(_ranking(job.recipe) or {}, discover(shell), tuned, job.folder / MAP)
    return True


def tell(job: Job) -> None:
    """Where the adapter is, and what makes it doubtful."""
    _say_unlike(job)
    job.terminal.say(f"adapter in {job.folder / 'adapter'}")


def tuned(folder: Path) -> list[str]:
    """What was trained, in lines of 80 characters, and where its map is.

    Args:
        folder: of the stage.
    """
    note = read_json(folder / "targets.json")
    ranks = sorted(set(note["ranks"].values()))
    rank = f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {ranks[0]} to {ranks[-1]}"
    lines = [f"tuned: {len(note['injected'])} modules, {rank}", *told(note["injected"])]
    return lines + [f"map of the model: {folder / MAP}"] * (folder / MAP).is_file()


def _ranking(recipe: Recipe) -> dict[str, Any] | None:
    """The ranking; None where no targets are chosen by it."""
    if recipe.train.targets not in ("top", "bottom"):
        return None
    path = recipe.run_folder / "localize" / "ranking.json"
    if not path.exists():
        raise UserError(
            f"train.targets = {recipe.train.targets} needs a ranking, and there is none",
            where=str(path),
            mend="run `ablate2tune localize` with this recipe first",
        )
    return read_json(path)


STAGE = Stage(
    name="train",
    inputs=inputs,
    work=work,
    check=check,
    present=present,
    tell=tell,
    several_processes=True,
    divides=True,
    results=("checkpoint/*", "adapter/*"),
    keyed=("cache",),
    scratch=("cache", "checkpoint", "checkpoints", "wandb", RUN),
)
