"""The stage study: settings over seeds, each cell an ordinary run, and what follows from them."""

from collections.abc import Sequence
from typing import Any

from ablate2tune import files
from ablate2tune.errors import UserError
from ablate2tune.recipe import Recipe
from ablate2tune.stage import Job, Stage
from ablate2tune.study.cells import Cell, plan
from ablate2tune.study.experiment import EXPERIMENTS, Experiment, NoCellError, Run, Studied
from ablate2tune.study.launching import Place, alone
from ablate2tune.study.price import told_price
from ablate2tune.study.reporting.study_files import CURVES, read_study, write_cells, write_report
from ablate2tune.study.reporting.study_table import lines, number, study_table
from ablate2tune.study.reporting.summary import summarise
from ablate2tune.study.running import DONE, FAILED, IMPOSSIBLE, Outcome, work_through


def check(recipe: Recipe) -> None:
    """Refuse an unknown experiment, and keys or values that no recipe may have.

    Raises:
        UserError: always the reason.
    """
    experiment = EXPERIMENTS[recipe.study.experiment]
    if experiment.takes_arms and not recipe.study.arms:
        raise UserError("there are no arms", where="study.arms", mend="name one at least")
    plan(recipe)
    experiment.check(recipe)


def inputs(recipe: Recipe) -> dict[str, Any]:
    """One hash: a study with other cells goes on in the same folder and keeps those it has."""
    sections = (recipe.model, recipe.localize, recipe.train, recipe.compare, recipe.study)
    data = EXPERIMENTS[recipe.study.experiment].data(recipe)
    held = [recipe.seed, data, *(section.decisive() for section in sections)]
    return {"study": files.content_hash(*held)}


def work(job: Job) -> None:
    """Make the cells, with the other processes, and keep what they gave.

    Raises:
        UserError: a run that cells share failed; or cells did, after all others were made.
    """
    recipe, experiment = job.recipe, EXPERIMENTS[job.recipe.study.experiment]
    studied, cells = Studied(recipe, job.folder), plan(recipe)
    with alone() as place:
        shared = experiment.shared(studied, cells)
        if place.index == 0:
            job.terminal.say(told_price(studied, experiment, cells, shared, place.count))
        _make(job, shared, place, experiment, "shared")
        settled: dict[int, Run] = {}
        outcomes: dict[int, Outcome] = {}
        for index, cell in enumerate(cells):
            try:
                settled[index] = experiment.settle(studied, cell)
            except NoCellError as error:
                outcomes[index] = Outcome(IMPOSSIBLE, str(error))
        made = _make(job, list(settled.values()), place, experiment, "cells")
        outcomes |= zip(settled, made, strict=True)
        if place.index:
            return
        rows, costs = [], {}
        for index, cell in enumerate(cells):
            run = settled.get(index)
            rows.append(_row(cell, run, outcomes[index], experiment))
            if run and outcomes[index].status == DONE:
                costs[run.folder.name] = experiment.costs(run.folder)
        finalists = _finalists(studied, experiment, rows, cells, settled)
        found = experiment.finish(studied, finalists, job.terminal) if finalists else {}
    write_cells(job.folder, rows, experiment.untouched(studied), costs, found)
    if failed := [row for row in rows if row["status"] == FAILED]:
        _report(job)
        tell(job)
        raise UserError(
            f"{len(failed)} of {len(rows)} cells failed, first {failed[0]['setting']}, seed "
            f"{failed[0]['seed']}: {failed[0]['message']}",
            where="study",
            mend="mend it, and the same command makes these alone",
        )


def _make(
    job: Job, runs: Sequence[Run], place: Place, experiment: Experiment, what: str
) -> list[Outcome]:
    if not runs:
        return []
    total, done = len({run.folder for run in runs}), 0
    with job.terminal.bar(f"study, {what}") as bar:
        bar(0, total, "")

        def on_done(run: Run, outcome: Outcome) -> None:
            nonlocal done
            done += 1
            bar(done, total, run.title)
            told = outcome.message
            if outcome.status == DONE and what == "cells":
                figure = experiment.figures(run.folder)[experiment.figure]
                told = f"{experiment.title} {number(figure)}"
            job.terminal.say(f"{run.title}: {outcome.status}{told and f', {told}'}")

        outcomes = work_through(runs, place, on_done)
    for run, outcome in zip(runs, outcomes, strict=True):
        if what == "shared" and outcome.status != DONE:
            raise UserError(f"{run.title}: {outcome.message}", where="study")
    return outcomes


def _row(cell: Cell, run: Run | None, outcome: Outcome, experiment: Experiment) -> dict[str, Any]:
    row: dict[str, Any] = {
        "setting": cell.setting,
        "arm": cell.arm,
        "budget": cell.budget,
        "axis": dict(cell.axis),
        "seed": cell.seed,
        "draw": cell.draw,
        "key": run.folder.name if run else None,
        "status": outcome.status,
        "message": outcome.message,
    }
    if run and outcome.status == DONE:
        row |= experiment.figures(run.folder)
    return row


def _finalists(
    studied: Studied,
    experiment: Experiment,
    rows: Sequence[dict[str, Any]],
    cells: Sequence[Cell],
    settled: dict[int, Run],
) -> list[tuple[Cell, Run]]:
    """The cells of the best settings, the guided arm's best among them; first draws alone."""
    config, figure = studied.recipe.study, experiment.figure
    if not config.finalists:
        return []
    entries = [e for e in summarise(rows, experiment, config) if figure in e]
    sign = -1 if experiment.higher_is_better else 1
    entries.sort(key=lambda entry: sign * entry[figure]["value"])
    guided = [entry for entry in entries if entry["arm"] == config.guided_arm][:1]
    best = [entry for entry in entries if entry not in guided]
    names = {e["setting"] for e in (guided + best)[: config.finalists]}
    return [
        (cell, settled[place])
        for place, cell in enumerate(cells)
        if cell.setting in names and cell.draw == 0 and rows[place]["status"] == DONE
    ]


def _report(job: Job) -> None:
    recipe = job.recipe
    experiment = EXPERIMENTS[recipe.study.experiment]
    value: Any = recipe
    for part in recipe.study.grid.split(".") if recipe.study.grid else ():
        value = getattr(value, part)
    write_report(job.folder, experiment, recipe.study, recipe.seed, value)


def present(job: Job) -> bool:
    """Intervals, tests, what is next, and the curves, from the cells."""
    _report(job)
    return True


def tell(job: Job) -> None:
    """The table, the tests, and where it all is."""
    experiment = EXPERIMENTS[job.recipe.study.experiment]
    study, costs = read_study(job.folder)
    job.terminal.say(study_table(study, costs, experiment))
    for line in lines(study, experiment):
        job.terminal.say(line)
    job.terminal.say(f"study.json, study.csv and curves: {job.folder / CURVES}")


STAGE = Stage(
    name="study",
    inputs=inputs,
    work=work,
    check=check,
    presenting=lambda recipe: recipe.study.presenting(),
    present=present,
    tell=tell,
    several_processes=True,
    keyed=("shared", "cells", "finals"),
    scratch=("shared", "cells", "finals"),
    free=("study",),
)
