"""The four stages of a recipe, joined through files: each reads what earlier ones wrote."""

import os
from pathlib import Path
from typing import Any, NamedTuple

from ablate2tune.compare.calibration import large_error
from ablate2tune.compare.compare import Scores, compare, read_scores
from ablate2tune.compare.judges import JudgeConfig, check_judge
from ablate2tune.compare.prompts import plain_prompts, relation_prompts
from ablate2tune.compare.table import scores_table
from ablate2tune.compare.tracking import track
from ablate2tune.components.discovery import discover
from ablate2tune.errors import UserError
from ablate2tune.localize.evidence import AnyRanking, judges, needs_scenes, rank
from ablate2tune.localize.evidence import table as ranking_table
from ablate2tune.models import FluxDenoiser, check_model_path, family_of, load_denoiser
from ablate2tune.progress import Terminal
from ablate2tune.recipe import Recipe
from ablate2tune.runs import RunDir, content_hash, read_json
from ablate2tune.scenes.checking.evidence import Evidence, check_captions, write_evidence
from ablate2tune.scenes.checking.priors import prior_check
from ablate2tune.scenes.dataset.caption_rates import kept_rates, read_rates
from ablate2tune.scenes.dataset.records import SceneRecord, index_files, read_dataset
from ablate2tune.scenes.rendering.render import RenderSummary, render_dataset
from ablate2tune.train.targets import choose_targets, falls_back
from ablate2tune.train.training_loop import TrainSummary, train

JUDGE_INPUTS = ("compare.judge", "judge")
"""Inputs of compare on which its pictures do not depend: another judge reads the same ones."""
UNJUDGED = (
    "compare: no judge is set, so the pictures are not scored; for figures, set compare.judge "
    "(docs/judges.md) and run compare again, which keeps the pictures"
)
HASHED_WHOLE = 64 * 2**20
"""Model files up to this size (bytes) enter the input hash with their content, others by size."""


class TrainOutcome(NamedTuple):
    """What the train stage did; no summary if it was already done."""

    adapter: Path
    targets: list[str]
    summary: TrainSummary | None


def is_main_process() -> bool:
    """Whether this process writes and speaks; the others of a launcher only compute."""
    return int(os.environ.get("RANK", "0")) == 0


def render_data_stage(recipe: Recipe, terminal: Terminal) -> RenderSummary:
    """Render the data set, or complete the one that is there."""
    with terminal.bar("render-data") as progress:
        return render_dataset(
            recipe.scenes, recipe.seed, recipe.data_folder, progress, terminal.say
        )


def check_data_stage(recipe: Recipe, terminal: Terminal) -> Evidence:
    """Say whether the data set's pictures show what their captions say, and what gives it away.

    Raises:
        UserError: a picture contradicts its caption or shows what a foil says.
    """
    records = read_dataset(recipe.data_folder)
    for line in prior_check(records).lines():
        terminal.say(line)
    terminal.say("each caption and foil against depth, mask and camera:")
    evidence = check_captions(records)
    for line in evidence.lines():
        terminal.say(line)
    path = write_evidence(evidence, recipe.data_folder)
    wrong = [scene.scene_id for scene in evidence.scenes if scene.wrong]
    if wrong:
        raise UserError(
            f"{len(wrong)} of {len(records)} pictures contradict their captions, {wrong[0]} first",
            where=str(path),
            mend="delete their sidecars and run render-data again",
        )
    return evidence


def localize_stage(recipe: Recipe, terminal: Terminal) -> AnyRanking | None:
    """Rank components by ablation; None if the stage was already done with these inputs."""
    check_model_path(recipe.model.path)
    settings, compare = recipe.localize, recipe.compare
    scenes = needs_scenes(settings, compare)
    records = _records(recipe) if scenes else []
    inputs = _inputs(recipe, scenes, localize=settings.model_dump(mode="json"))
    if judges(settings, compare):
        inputs["judge"] = _fingerprint(compare.judge) if compare.judge else None
    if settings.probe == "generate" and settings.generate.pairs:
        inputs["pairs"] = content_hash(*settings.generate.pairs.glob("metadata.jsonl"))
    run = _run(recipe)
    if run.is_done("localize", inputs):
        terminal.say("localize: done before, inputs unchanged")
        return None

    def work(folder: Path) -> list[AnyRanking]:
        denoiser = load_denoiser(recipe.model)
        with terminal.bar("localize") as progress:
            return rank(
                denoiser,
                records,
                settings,
                compare,
                recipe.seed,
                folder,
                progress,
                cache=recipe.means_folder,
            )

    if is_main_process():
        with run.stage("localize", inputs) as folder:
            rankings = work(folder)
    else:
        rankings = work(run.folder("localize"))
    for ranking in rankings:
        terminal.say(ranking_table(ranking))
        for message in ranking.messages():
            terminal.say(message)
    return rankings[0]


def train_stage(recipe: Recipe, terminal: Terminal) -> TrainOutcome:
    """Train the adapter on the modules the ranking chose.

    Raises:
        UserError: the model is not FLUX.1, there is no ranking, or what `train` raises.
    """
    _check_trainable(recipe, "train")
    records = _records(recipe)
    ranking_path = recipe.run_folder / "localize" / "ranking.json"
    ranked = recipe.train.targets in ("top", "bottom")
    inputs = _inputs(recipe, train=recipe.train.model_dump(mode="json"))
    inputs |= kept_rates(read_rates(recipe.data_folder))
    ranking: dict[str, Any] = {"components": []}
    if ranked:
        if not ranking_path.exists():
            raise UserError(
                f"train.targets = {recipe.train.targets} needs a ranking, and there is none",
                where=str(ranking_path),
                mend="run `ablate2tune localize` with this recipe first",
            )
        ranking = read_json(ranking_path)
        inputs["ranking"] = content_hash(ranking["verdict"], _ranked_order(ranking))
    run = _run(recipe)
    folder = run.folder("train")
    adapter = folder / "adapter"
    if run.is_done("train", inputs):
        terminal.say("train: done before, inputs unchanged")
        return TrainOutcome(adapter, read_json(folder / "targets.json")["injected"], None)
    denoiser = _flux(recipe)
    catalogue = discover(denoiser.model)
    targets = choose_targets(ranking, recipe.train, catalogue, recipe.seed)
    if falls_back(ranking, recipe.train):
        terminal.say(f"train: there is no skill to rank by; all {len(targets)} modules are trained")
    rows = [row for row in ranking["components"] if set(row["lora_targets"]) & set(targets)]

    def work(folder: Path) -> TrainSummary:
        with terminal.bar("train") as progress:
            return train(
                denoiser,
                records,
                targets,
                recipe.train,
                recipe.seed,
                folder,
                ranking_rows=rows,
                sample_steps=recipe.compare.steps,
                on_progress=progress,
                on_message=terminal.say,
            )

    if is_main_process():
        with run.stage("train", inputs) as folder:
            summary = work(folder)
    else:
        summary = work(folder)
    return TrainOutcome(adapter, summary.injected, summary)


def compare_stage(recipe: Recipe, terminal: Terminal) -> Scores | None:
    """Make the pictures before and after and score them; None if no judge is set.

    Raises:
        UserError: the model is not FLUX.1, there is no adapter, or what `compare` raises.
    """
    check_judge(recipe.compare.judge)
    _check_trainable(recipe, "compare")
    adapter = recipe.run_folder / "train" / "adapter"
    if not (adapter / "pytorch_lora_weights.safetensors").exists():
        raise UserError(
            "there is no adapter to compare",
            where=str(adapter),
            mend="run `ablate2tune train` with this recipe first",
        )
    records = _records(recipe)
    inputs = _inputs(recipe, compare=recipe.compare.model_dump(mode="json", exclude={"wandb"}))
    inputs["adapter"] = content_hash(adapter)
    if recipe.compare.judge:
        inputs["judge"] = _fingerprint(recipe.compare.judge)
    run = _run(recipe)
    if run.is_done("compare", inputs):
        terminal.say("compare: done before, inputs unchanged")
        path = run.folder("compare") / "scores.json"
        scores = read_scores(path) if recipe.compare.judge else None
        _say_scores(scores, terminal)
        return scores
    if run.reopen("compare", inputs, JUDGE_INPUTS):
        terminal.say("compare: another judge than before; its pictures are kept")
    with run.stage("compare", inputs) as folder, terminal.bar("compare") as progress:
        scores = compare(
            _flux(recipe),
            adapter,
            recipe.scenes,
            [record for record in records if record.split == "test"],
            recipe.compare,
            recipe.seed,
            folder,
            progress,
        )
        tracked = track(folder, recipe.compare, recipe.model_dump(mode="json"))
    _say_scores(scores, terminal)
    if tracked.line:
        terminal.say(tracked.line)
    return scores


def run_stages(recipe: Recipe, terminal: Terminal) -> None:
    """The main job: render-data, localize, train, compare.

    Raises:
        UserError: the judge cannot be read, compare cannot judge the scenes or has too few held-out
            pairs or test scenes, or the model is not FLUX.1, said before hours are spent on the
            stages ahead of it.
    """
    _check_comparable(recipe)
    _check_trainable(recipe, "run")
    render_data_stage(recipe, terminal)
    localize_stage(recipe, terminal)
    train_stage(recipe, terminal)
    compare_stage(recipe, terminal)


def _say_scores(scores: Scores | None, terminal: Terminal) -> None:
    if scores is None:
        terminal.say(UNJUDGED)
        return
    terminal.say(scores_table(scores))
    error = large_error(scores.judge["calibration"])
    if error:
        terminal.say(f"warning: {error}; take the figures above as rough")


def _check_comparable(recipe: Recipe) -> None:
    check_judge(recipe.compare.judge)
    relation_prompts(recipe.scenes, recipe.compare.prompts, recipe.seed)
    plain_prompts(recipe.scenes, recipe.compare.plain_prompts, recipe.seed)
    if recipe.compare.judge and not recipe.scenes.test_images:
        raise UserError(
            "there would be no test scenes to measure the judge on",
            where="scenes.test_images = 0",
            mend="set it to 100 or more",
        )


def _check_trainable(recipe: Recipe, command: str) -> None:
    check_model_path(recipe.model.path)
    family = family_of(recipe.model)
    if not issubclass(family, FluxDenoiser):
        raise UserError(
            f"`{command}` serves FLUX.1 alone, and the model is another family",
            where=f"model.path = {recipe.model.path}",
            mend="rank its components with `ablate2tune localize`",
        )


def _flux(recipe: Recipe) -> FluxDenoiser:
    denoiser = load_denoiser(recipe.model)
    assert isinstance(denoiser, FluxDenoiser), "_check_trainable comes first"
    return denoiser


def _run(recipe: Recipe) -> RunDir:
    return RunDir(recipe.run_folder, recipe.model_dump(mode="json"))


def _records(recipe: Recipe) -> list[SceneRecord]:
    return read_dataset(recipe.data_folder)


def _inputs(recipe: Recipe, scenes: bool = True, **settings: Any) -> dict[str, Any]:
    """What a stage's results depend on: seed, model, data set, and the stage's own settings.

    Args:
        recipe: the run.
        scenes: whether they depend on the rendered scenes.
        settings: the stage's own.
    """
    return {
        "seed": recipe.seed,
        "model": {
            **recipe.model.model_dump(mode="json"),
            "content": _fingerprint(Path(recipe.model.path)),
        },
        **({"data": content_hash(*index_files(recipe.data_folder))} if scenes else {}),
        **settings,
    }


def _fingerprint(held: Path | JudgeConfig) -> Any:
    """Hash of a folder, or of each of a judge's models; a hub name counts by its name."""
    if isinstance(held, JudgeConfig):
        return {
            key: _fingerprint(Path(value))
            for key, value in held.model_dump(mode="json").items()
            if key in ("folder", "detector", "depth")
        }
    folder = held
    if not folder.is_dir():
        return str(folder)
    parts: list[Any] = []
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        size = file.stat().st_size
        parts += [str(file.relative_to(folder)), size]
        if size <= HASHED_WHOLE:
            parts.append(content_hash(file))
    return content_hash(*parts)


def _ranked_order(ranking: dict[str, Any]) -> list[Any]:
    return [[row["address"], row["rank"]] for row in ranking["components"]]
