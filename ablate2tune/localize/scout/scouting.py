"""The ranking by scout: what is lost when the adapter on one module is switched off again.

A skill that a model lacks cannot be subtracted from it, but one that it is being taught can. In
each round small adapters learn for a few steps, on scenes that are not measured; then each is
switched off in turn, exactly, through the sweep that serves every ranking.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from ablate2tune import files
from ablate2tune.components import Component, discover
from ablate2tune.contrasts.contrast import Contrast
from ablate2tune.localize.findings.explore import explore
from ablate2tune.localize.findings.finding import Ranked
from ablate2tune.localize.findings.information import check_information
from ablate2tune.localize.localize_config import LocalizeConfig
from ablate2tune.localize.localizing import finish_ranking, open_sweep
from ablate2tune.localize.margins.encoded_examples import split_groups
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.measuring.purse import Purse
from ablate2tune.localize.measuring.sweep import Measured, Sweep
from ablate2tune.localize.ranking.ranking import Analysis, draws
from ablate2tune.localize.ranking.ranking_file import Ranking
from ablate2tune.localize.ranking.row import Row
from ablate2tune.localize.ranking.trust import RESEEDED, evenly_spaced
from ablate2tune.localize.scout.elimination import Round, halvings, places
from ablate2tune.localize.scout.scout_training import (
    scout_config,
    scout_steps,
    teach,
    unmeasured,
)
from ablate2tune.models import Denoiser
from ablate2tune.progress import Progress
from ablate2tune.scenes.dataset.records import SceneRecord
from ablate2tune.train.train_config import TrainConfig

MODE = "adapter_off"
BUDGET = 0.06
"""Default budget of a round as a fraction of measuring all its modules on all groups. Gradients
estimate what a small adapter does nearly exactly (on the testbed's first edition Spearman .998
on the same pictures), so that few groups are needed beside them."""


def localize_by_scout(
    denoiser: Denoiser,
    contrasts: Sequence[Contrast],
    records: Sequence[SceneRecord],
    training: TrainConfig,
    config: LocalizeConfig,
    seed: int,
    folder: Path,
    on_progress: Progress | None = None,
) -> Ranking:
    """Rank all blocks and their Linears by the margin that is lost without their adapters.

    Writes what `localize` does below `folder`, of the first round, in which all modules have
    adapters; the training of every round and the sweeps of the later ones lie in
    `scout/round-N`. `set` in ranking.json is the order in which modules stood
    (`elimination.places`). A killed run goes on where it stopped and ends with the same files.

    Args:
        denoiser: the model; it carries the last round's adapters afterwards.
        contrasts: the training ones are used.
        records: scenes to learn from; those of measured groups are left out.
        training: the section `train`, for its objective.
        config: groups, noise levels, statistics.
        seed: of the groups, the training, the noise and the resampling.
        folder: where the files go.
        on_progress: told (done, in all): training steps, then block evaluations.

    Raises:
        UserError: too few contrast groups, no scenes left to learn from, a folder that holds the
            results of another sweep, or what training raises.
    """
    catalogue = discover(denoiser.model)
    split = split_groups(contrasts, config.groups, 0, seed)
    scenes = unmeasured(records, split.measured)
    parts = catalogue.linears_of(catalogue.blocks)
    information = check_information(denoiser, split.measured, draws(config, seed)).as_dict()
    kept = halvings(len(parts))
    steps = scout_steps(training.steps, len(kept), config.scout_steps)
    if config.screening == "auto":
        config = config.model_copy(update={"screening": "on"})
    progress = _Stretches(on_progress)
    found: list[_Swept] = []
    weights: dict[str, Tensor] | None = None
    for number, staying in enumerate(kept, start=1):
        place = folder / "scout" / f"round-{number}"
        modules = [part.address for part in parts]
        taught = scout_config(training, steps[number - 1])
        taught = taught.model_copy(update={"cache": folder / "cache"})
        weights = teach(denoiser, scenes, modules, taught, seed, place, weights, progress.next())
        own = folder if number == 1 else place
        sweep = open_sweep(denoiser, split, config, seed, own, progress.next())
        swept = _sweep(sweep, parts, staying, number == 1, len(kept))
        found.append(swept)
        if number > 1:
            sweep.finish()
        elif not swept.analysis.has_skill:
            break
        staying_on = set(swept.round.survivors)
        parts = [part for part in parts if part.address in staying_on]

    first = found[0]
    if first.sweep.processes.is_first:
        files.write_json(folder / "information.json", information)
    findings = explore(
        Ranked(denoiser, first.sweep, first.analysis, first.rows, [], split, information, folder)
    )
    notes = [_told(found, steps)] if first.analysis.has_skill else []
    return finish_ranking(
        folder,
        first.sweep,
        first.analysis,
        information,
        notes,
        first.levels,
        first.rows,
        first.left_out,
        first.reseeded,
        findings,
        {"set": places([swept.round for swept in found]), "scout": _rounds(found, steps)}
        if first.analysis.has_skill
        else {},
    )


class _Swept(NamedTuple):
    """A round's sweep and what it found."""

    sweep: Sweep[Any]
    analysis: Analysis
    levels: dict[str, Measured]
    rows: list[Row]
    left_out: dict[str, str]
    reseeded: list[np.ndarray] | None
    round: Round


def _sweep(
    sweep: Sweep[Any], parts: Sequence[Component], staying: int, first: bool, rounds: int
) -> _Swept:
    """Switch off the adapters of a round one by one; nothing where the scout learnt nothing.

    In the first round those of each block together as well.
    """
    config = sweep.config
    sweep.plan(sweep.baseline_cost)
    analysis = sweep.baseline()
    if first and not analysis.has_skill:
        return _Swept(sweep, analysis, {}, [], {}, None, Round({}, 0))
    modules, broken = sweep.fitting([_off(part) for part in parts])
    blocks, unfit = sweep.fitting([_off(block) for block in sweep.catalogue.blocks if first])
    broken |= unfit
    sweep.screen([condition for _, condition in modules])
    conditions = len(blocks) + len(modules)
    most = (config.budget or BUDGET) * conditions * sweep.baseline_cost
    if config.minutes:
        most = min(most, 60 * config.minutes / rounds * sweep.pace())
    money = Purse(most, conditions)
    levels: dict[str, Measured] = {}
    ranked: dict[str, list[Row]] = {}
    for level, measured, wanted in (("block", blocks, 0), ("projection", modules, staying)):
        levels[level], lost = sweep.run(measured, money, wanted)
        ranked[level] = analysis.rows(levels[level])
        broken |= lost
    reseeded = None
    if first and config.noise_floor:
        spread = evenly_spaced(ranked["projection"], RESEEDED)
        reseeded = sweep.reseeded([Condition((r.component.address,), r.mode) for r in spread])
    adds = {row.component.address: row.ranked for row in ranked["projection"]}
    rows = analysis.over_levels([*ranked["block"], *ranked["projection"]])
    return _Swept(sweep, analysis, levels, rows, broken, reseeded, Round(adds, staying))


def _off(part: Component) -> tuple[Component, Condition]:
    return part, Condition((part.address,), MODE)


def _rounds(found: Sequence[_Swept], steps: Sequence[int]) -> list[dict[str, Any]]:
    """`scout` in ranking.json: what each round had and kept, and the margin with all adapters."""
    return [
        {
            "modules": len(swept.round.adds),
            "kept": swept.round.kept,
            "steps": taken,
            "margin": swept.analysis.baseline[swept.analysis.figure.name],
        }
        for swept, taken in zip(found, steps, strict=True)
    ]


def _told(found: Sequence[_Swept], steps: Sequence[int]) -> str:
    margins = [swept.analysis.baseline[swept.analysis.figure.name]["value"] for swept in found]
    line = " -> ".join(
        f"{margin:.3g} with {len(swept.round.adds)}"
        for margin, swept in zip(margins, found, strict=True)
    )
    return (
        f"scout: {len(found)} rounds, {sum(steps)} steps; held-out margin {line} adapters; `set` "
        "in ranking.json has the modules in the order in which they stood"
    )


class _Stretches:
    """Progress of work that follows other work, counted in units of its own."""

    def __init__(self, tell: Progress | None):
        self._tell, self._before, self._done, self._stretch = tell, 0, 0, 0

    def next(self) -> Progress:
        """Of the next stretch; what those before it still tell is not passed on."""
        self._before, self._done = self._before + self._done, 0
        self._stretch += 1
        own = self._stretch

        def told(done: int, total: int) -> None:
            if own == self._stretch:
                self._done = done
                if self._tell:
                    self._tell(self._before + done, self._before + total)

        return told
