"""The localize stage with probe `generate`: from a model and prompts to a ranking by pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate2tune import runs
from ablate2tune.ablation import MODES, verify
from ablate2tune.components import Component, discover, lora_targets
from ablate2tune.localize.generate.analysis import BASELINE, Figures, Loss
from ablate2tune.localize.generate.inception import INSTALL
from ablate2tune.localize.generate.measures import FID
from ablate2tune.localize.generate.setup import (
    SamplingMeans,
    generate_identity,
    pairs_for,
    run_once,
    scenes_for,
    tasks_for,
)
from ablate2tune.localize.generate.show import write_csv, write_layers
from ablate2tune.localize.generate.sweep import GenerateSweep, Tasks
from ablate2tune.localize.judging import Judging
from ablate2tune.localize.localize_config import LocalizeConfig
from ablate2tune.localize.measuring.activation_means import check_mode
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.measuring.processes import Processes
from ablate2tune.localize.measuring.sweep_identity import claim, model_hash
from ablate2tune.localize.ranking.ranking import NO_SKILL, RANKED, RankingFile
from ablate2tune.models import Denoiser, Progress
from ablate2tune.scenes.dataset.records import SceneRecord
from ablate2tune.statistics.resampling import Resampling, corrected

Swept = list[tuple[Component, Condition]]
SCHEMA = "ablate2tune/ranking-generated/2"
FLAT = 0.5
"""Share of one-coloured pictures from which on a component's pictures have collapsed."""


@dataclass(frozen=True)
class GeneratedRanking(RankingFile):
    """What probe `generate` found: the contents of `ranking.json`, and lines for people."""

    notes: tuple[str, ...]

    def messages(self) -> list[str]:
        """What to tell the user beside the table, one line each."""
        left_out = [f"left out: {name} ({why})" for name, why in self.data["left_out"].items()]
        warnings = [f"warning: {line}" for line in self.data["trust"]["warnings"]]
        return [*self.notes, *left_out, *warnings]


def localize_by_pictures(
    denoiser: Denoiser,
    records: Sequence[SceneRecord],
    config: LocalizeConfig,
    seed: int,
    folder: Path,
    judging: Judging | None = None,
    on_progress: Progress | None = None,
    cache: Path | None = None,
) -> GeneratedRanking:
    """Rank blocks, then sub-layers, by what sampled pictures lose without them.

    Every condition draws the same prompts from the same noise. Captions of scenes are judged
    (relation, objects); captions of pairs give CLIP scores and distances to the real pictures.

    Writes identity.json, images/, results.jsonl, distances.jsonl, ranking.json, generate.csv and
    generate.png with generate.json below `folder`. A killed run continues where it stopped.

    Args:
        denoiser: the model.
        records: the data set; its training scenes are used. May be empty without a judge.
        config: what is drawn, modes, statistics.
        seed: of prompts, noise and resampling.
        folder: where the files go.
        judging: the judge of scenes' captions; None draws the pairs alone.
        on_progress: told (pictures done, pictures in all); the total is an estimate that grows.
        cache: folder of calibrated means, shared between runs.

    Raises:
        UserError: there is nothing to measure pictures by, a model or a picture that it takes is
            missing, too few contrast groups, a folder that holds another sweep's results, or mode
            mean on a family whose tokens have no fixed positions.
    """
    # 1) What is drawn and measured; whose folder it is.
    check_mode(denoiser, config.mode)
    processes = Processes(denoiser)
    split = scenes_for(records, config, judging, seed)
    pairs = pairs_for(config.generate, seed)
    tasks = tasks_for(split, pairs, config.generate, judging, seed, denoiser.device)
    model = model_hash(denoiser)
    identity = generate_identity(model, denoiser, tasks, pairs, split, judging, config, seed)
    claim(folder, identity, write=processes.is_first)
    sweep = GenerateSweep(denoiser, tasks, config.generate, folder, processes, on_progress)
    means = SamplingMeans(denoiser, split.calibration, config, model, cache, seed)
    how = Resampling(seed, config.bootstrap, config.confidence)
    figures = Figures(sweep, tasks, how, config.rank_by == "specificity")

    # 2) The whole model.
    catalogue = discover(denoiser.model)
    verification = verify(denoiser.model, lambda: run_once(denoiser, config.sigmas[0], seed))
    left_out, passed = dict(verification.failed), set(verification.passed)
    blocks: Swept = [
        (block, Condition((block.address,), MODES[config.mode].block_mode))
        for block in catalogue.blocks
        if block.address in passed
    ]
    children = {
        block.address: [child for child in catalogue.children(block) if child.address in passed]
        for block, _ in blocks
    }
    coming = _coming(config, children)
    sweep.plan(1 + len(blocks) + coming)
    sweep.run([BASELINE])
    levels: dict[str, Swept] = {}
    rows: list[dict[str, Any]] = []

    # 3) Blocks, then the sub-layers that the recipe asks for.
    if figures.has_skill():
        sweep.plan(len(blocks) + coming)
        levels["block"], broken = _run(sweep, means, blocks)
        left_out |= broken
        rows = component_rows(figures, levels["block"], config.confidence)
        chosen = _chosen(config, rows)
        sublayers: Swept = [
            (child, Condition((child.address,), config.mode))
            for block, _ in levels["block"]
            for child in children[block.address]
            if block.address in chosen
        ]
        sweep.plan(len(sublayers))
        levels["sublayer"], broken = _run(sweep, means, sublayers)
        left_out |= broken
        rows += component_rows(figures, levels["sublayer"], config.confidence)
    swept = [condition for level in levels.values() for _, condition in level]
    sweep.finish([BASELINE, *swept])
    data = {
        "schema": SCHEMA,
        "verdict": RANKED if figures.has_skill() else NO_SKILL,
        "probe": "generate",
        "rank_by": config.rank_by,
        "ranked_by": figures.ranked_by,
        "confidence": config.confidence,
        "baseline": figures.of(BASELINE),
        "components": over_levels(rows),
        "left_out": left_out,
        "pictures": {"scenes": len(tasks.scenes), "pairs": len(tasks.pairs), "real": len(pairs)},
        "judge": judging.as_dict() if judging else None,
        "trust": {"warnings": _warnings(figures, levels)},
    }
    if processes.is_first:
        write_csv(data, folder / "generate.csv")
        write_layers(data, catalogue, folder)
        runs.write_json(folder / "ranking.json", data)
    return GeneratedRanking(data, tuple(_notes(data, tasks, judging)))


def _run(sweep: GenerateSweep, means: SamplingMeans, swept: Swept) -> tuple[Swept, dict[str, str]]:
    """Draw the components of one level; those that could be ablated, and why others could not."""
    conditions = [condition for _, condition in swept]
    means.provide(sweep, conditions)
    broken = sweep.run(conditions)
    return [pair for pair in swept if pair[0].address not in broken], broken


def _coming(config: LocalizeConfig, children: dict[str, list[Component]]) -> int:
    """How many sub-layers will be drawn."""
    counts = sorted((len(found) for found in children.values()), reverse=True)
    shown = {"none": 0, "top": config.top_blocks, "all": len(counts)}[config.generate.sublayers]
    return sum(counts[:shown])


def _chosen(config: LocalizeConfig, rows: Sequence[dict[str, Any]]) -> set[str]:
    """Addresses of the blocks whose sub-layers are drawn."""
    shown = {"none": 0, "top": config.top_blocks, "all": len(rows)}[config.generate.sublayers]
    return {row["address"] for row in rows[:shown]}


def component_rows(figures: Figures, swept: Swept, confidence: float) -> list[dict[str, Any]]:
    """Components of one level as in `ranking.json`, best first; p-values corrected over them."""
    losses = [figures.loss(condition) for _, condition in swept]
    rows = [
        _row(part, condition, figures.of(condition), loss, p, confidence, figures.order(loss))
        for (part, condition), loss, p in zip(
            swept, losses, corrected([loss.p for loss in losses]), strict=True
        )
    ]
    rows.sort(key=lambda row: (-row["order"], row["address"]))
    return [{**row, "rank_in_level": place} for place, row in enumerate(rows, start=1)]


def over_levels(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of all levels in one order, ranked."""
    ordered = sorted(rows, key=lambda row: (-row["order"], row["address"]))
    return [{"rank": place, **row} for place, row in enumerate(ordered, start=1)]


def _row(
    component: Component,
    condition: Condition,
    own: dict[str, Any],
    loss: Loss,
    p: float,
    confidence: float,
    order: float,
) -> dict[str, Any]:
    label = "neutral"
    if loss.critical:
        label = "critical for everything"
    elif p < 1 - confidence:
        label = "helps" if order > 0 else "hurts"
    return {
        "address": component.address,
        "level": component.level,
        "kind": component.kind,
        "mode": condition.mode,
        "figures": own,
        "loss": loss.figures,
        "order": order,
        "p": p,
        "p_uncorrected": loss.p,
        "label": label,
        "parameters": component.parameters,
        "lora_targets": lora_targets(component),
    }


def _warnings(figures: Figures, levels: dict[str, Swept]) -> list[str]:
    flat = [
        part.address
        for level in levels.values()
        for part, condition in level
        if figures.flat(condition) > FLAT
    ]
    if not flat:
        return []
    return [
        f"most pictures are of one colour without {', '.join(flat)}: the model is far outside its "
        "usual range there, and its figures say little about the capability"
    ]


def _notes(data: dict[str, Any], tasks: Tasks, judging: Judging | None) -> list[str]:
    lines = []
    if judging:
        lines.append(judging.line())
    if data["verdict"] == NO_SKILL:
        lines.append(
            f"no skill to localize: none of {len(tasks.scenes)} pictures shows its relation; "
            "nothing was ablated"
        )
    if tasks.reference:
        lines.append(
            f"distances are of {len(tasks.pairs)} pictures to {data['pictures']['real']} real "
            "ones; compare them at equal numbers only"
        )
        if FID not in data["baseline"]:
            lines.append(f"FID was not measured; for it: {INSTALL}")
    return lines
