"""Runs one stage: done already? claim the folder, one process at a time, record what came out."""

import os
import time
from typing import Any

from ablate2tune.disk.folder_lock import lock
from ablate2tune.disk.identity import NOT_HERE
from ablate2tune.models import resolve_device
from ablate2tune.process.cpu_threads import settle_threads
from ablate2tune.process.launched import check_launcher, missing_processes
from ablate2tune.progress import Terminal
from ablate2tune.recipe import Recipe
from ablate2tune.run_dir import RunDir, spent
from ablate2tune.stage import Job, Stage


def is_main_process() -> bool:
    """Whether this process writes and speaks; the others of a launcher only compute."""
    return int(os.environ.get("RANK", "0")) == 0


def run_stage(stage: Stage, recipe: Recipe, terminal: Terminal) -> None:
    """Run one stage, unless it is done: then only show it anew if that is what changed.

    Raises:
        UserError: the folder belongs to other inputs or another process works in it, or what the
            stage raises.
    """
    check_launcher(stage.divides)
    stage.check(recipe)
    if stage.several_processes and (told := missing_processes()):
        terminal.say(told)
    run = RunDir(recipe.run_folder, recipe.model_dump(mode="json"))
    job = Job(recipe, run.folder(stage.name), terminal)
    inputs = stage.inputs(recipe)
    done = run.is_done(stage.name, inputs)
    if not is_main_process():
        if stage.several_processes and not done:
            stage.work(job)
        return
    if done and _is_shown(stage, run, recipe):
        terminal.say(f"{stage.name}: done before, inputs unchanged")
        stage.tell(job)
        return
    with lock(job.folder, on_message=terminal.say):
        began = time.perf_counter()
        if not run.is_done(stage.name, inputs):
            _do(stage, run, job, inputs)
        else:
            terminal.say(f"{stage.name}: done before, inputs unchanged; shown anew")
        presented = stage.present(job)
        run.finish(
            stage.name,
            _now_known(inputs, stage.inputs(recipe)) if NOT_HERE in str(inputs) else inputs,
            stage.scratch,
            presenting=stage.presenting(recipe) if presented else None,
            **({} if done else spent(began)),
        )
    stage.tell(job)


def _do(stage: Stage, run: RunDir, job: Job, inputs: dict[str, Any]) -> None:
    """Claim the folder and do the work; what is refused before any result gives it back."""
    broken = run.broken(stage.name)
    record, made = run.record(stage.name), run.results(stage.name, stage.results)
    threads = _threads(job, record, begun=bool(made))
    free = run.claim(
        stage.name, inputs, results=stage.results, keyed=stage.keyed, free=stage.free, **threads
    )
    if free:
        job.terminal.say(
            f"{stage.name}: {', '.join(free)} changed; what does not depend on it is kept"
        )
    elif broken:
        name, wrong = next(iter(broken.items()))
        more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        job.terminal.say(f"{stage.name}: {job.folder / name} {wrong}{more}; made again")
        run.discard(stage.name, broken)
    try:
        stage.work(job)
    except BaseException:
        if run.results(stage.name, stage.results) == made:
            run.give_back(stage.name, record)
        raise


def _threads(job: Job, record: dict[str, Any], begun: bool) -> dict[str, int]:
    """Settle the threads of work on the CPU; what the record is to hold of them."""
    alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
    if not alone or resolve_device(job.recipe.model.device).type != "cpu":
        return {}
    settled = settle_threads(record.get("threads"), begun)
    if settled.line:
        job.terminal.say(settled.line)
    return {"threads": settled.taken}


def _now_known(before: Any, after: Any) -> Any:
    """The inputs that the work began with; what was fetched meanwhile is known by content now."""
    if isinstance(before, dict) and isinstance(after, dict):
        return {key: _now_known(value, after.get(key)) for key, value in before.items()}
    return after if before == NOT_HERE else before


def _is_shown(stage: Stage, run: RunDir, recipe: Recipe) -> bool:
    return run.record(stage.name).get("presenting") == stage.presenting(recipe)
