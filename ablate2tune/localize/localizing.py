"""The localize stage: from a model and contrasts to a ranking of its components."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ablate2tune import files
from ablate2tune.ablation import MODES
from ablate2tune.compare.judges.judging import Judging
from ablate2tune.components import Component
from ablate2tune.components.heads import Heads
from ablate2tune.contrasts.contrast import TRAINING, Contrast
from ablate2tune.localize.choosing.joint_choice import choose_jointly
from ablate2tune.localize.findings.explore import explore
from ablate2tune.localize.findings.finding import Finding, Ranked
from ablate2tune.localize.findings.head_table import head_conditions
from ablate2tune.localize.findings.information import check_information
from ablate2tune.localize.localize_config import LocalizeConfig
from ablate2tune.localize.margins.caption_losses import TEXTS, Levels
from ablate2tune.localize.margins.encoded_examples import Split, split_groups
from ablate2tune.localize.margins.phrase_tokens import of_equal_length
from ablate2tune.localize.measuring.activation_means import check_mode
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.measuring.processes import Processes
from ablate2tune.localize.measuring.purse import purse
from ablate2tune.localize.measuring.racing import TOP
from ablate2tune.localize.measuring.sweep import Measured, Sweep
from ablate2tune.localize.measuring.sweep_identity import model_hash
from ablate2tune.localize.probes.probe import PROBES, Setting
from ablate2tune.localize.ranking.bars import write_bars
from ablate2tune.localize.ranking.decided import decided
from ablate2tune.localize.ranking.layers import write_layers
from ablate2tune.localize.ranking.ranking import Analysis, draws
from ablate2tune.localize.ranking.ranking_figures import write_csv, write_heatmap
from ablate2tune.localize.ranking.ranking_file import NO_SKILL, RANKED, SCHEMA, Ranking
from ablate2tune.localize.ranking.row import Row
from ablate2tune.localize.ranking.trust import RESEEDED, evenly_spaced, trust
from ablate2tune.models import Denoiser, Studied
from ablate2tune.progress import Progress


def localize(
    studied: Studied,
    contrasts: Sequence[Contrast],
    config: LocalizeConfig,
    seed: int,
    folder: Path,
    on_progress: Progress | None = None,
    cache: Path | None = None,
    judging: Judging | None = None,
    modules: int = TOP,
) -> Ranking:
    """Rank blocks, then the sub-layers of the top blocks, by what the model loses without them.

    Writes identity.json, results.jsonl, ranking.json, ranking.csv, cost.json, heatmap.png and
    bars.png with bars.json below `folder`, and a PNG with its JSON for each follow-up that the
    recipe asks for; information.json where the probe contrasts captions, and layers.png with
    layers.json where it shows the figures themselves. A killed run continues where it stopped and
    ends with the same ranking.

    Args:
        studied: the model.
        contrasts: the training ones are used.
        config: the probe and its section, modes, statistics.
        seed: of the groups, the noise and the resampling.
        folder: where the files go.
        on_progress: told (done, in all) in the probe's unit; the total is an estimate that grows
            where it must.
        cache: folder of calibrated means, shared between runs; None keeps none.
        judging: judges pictures, for a probe that needs it.
        modules: how many will be tuned: measuring goes on until the sub-layers that hold so many
            are told from the rest, or the budget is spent.

    Raises:
        UserError: too few contrast groups, a loss that is not finite, fused projections, a model
            without blocks, a folder that holds the results of another sweep, mode "mean" on a
            family whose tokens have no fixed positions, or what the probe raises.
    """
    # 1) Choose and encode; whether the conditioning carries the distinction comes first.
    check_mode(studied, config.mode)
    split, notes = _choose(studied, contrasts, config, seed, judging is not None)
    sweep = open_sweep(studied, split, config, seed, folder, on_progress, cache, judging)
    takes = sweep.probe.takes
    information: dict[str, Any] | None = None
    if "information" in takes:
        everyone = [*split.measured, *split.calibration]
        information = check_information(
            sweep.probe.denoiser, everyone, draws(config, seed)
        ).as_dict()
        if sweep.processes.is_first:
            files.write_json(folder / "information.json", information)

    # 2) Baseline. Without skill there is nothing to rank, but by gradient.
    sweep.plan(sweep.baseline_cost)
    analysis = sweep.baseline()
    if not analysis.has_skill and config.rank_by != "gradient":
        nothing = Ranked(studied, sweep, analysis, [], [], split, information, folder)
        findings = explore(nothing)
        return finish_ranking(
            folder, sweep, analysis, information, notes, {}, [], {}, None, findings
        )

    # 3) Ablations that do not do what they say are left out by name.
    verification = sweep.probe.verify()
    left_out = dict(verification.failed)
    passed = set(verification.passed)

    # 4) Blocks, then the sub-layers of the best of them.
    blocks = [
        (block, Condition((block.address,), MODES[config.mode].block_mode))
        for block in sweep.catalogue.blocks
        if block.address in passed
    ]
    sizes = [len(sweep.catalogue.children(block)) for block, _ in blocks]
    head_counts = [_heads(sweep, block) if config.heads else 0 for block, _ in blocks]
    linear_counts = [len(block.linears) if config.projections else 0 for block, _ in blocks]
    below = min(len(blocks), sweep.probe.blocks_below(config.top_blocks))
    coming = len(blocks) + sum(
        sum(sorted(n, reverse=True)[:below]) for n in (sizes, head_counts, linear_counts)
    )
    coming = max(1, coming)
    everything: Measured = [
        (child, Condition((child.address,), config.mode))
        for block, _ in blocks
        for child in sweep.catalogue.children(block)
        if child.address in passed
    ]
    blocks, unfit_blocks = sweep.fitting(blocks)
    everything, unfit = sweep.fitting(everything)
    left_out |= unfit_blocks | unfit
    screened = sweep.screen([condition for _, condition in [*blocks, *everything]])
    money, said = purse(config, coming, sweep.baseline_cost, screened, sweep.pace)
    notes += said
    if sweep.probe.shares and not sweep.races and below == len(blocks):
        sweep.measure([condition for _, condition in [*blocks, *everything]])
    settles = config.rank_by != "gradient"  # gains are measured on all groups
    blocks, broken = sweep.run(blocks, money, below if settles and below < len(blocks) else 0)
    left_out |= broken
    block_rows = analysis.rows(blocks, _gains(sweep, blocks))
    top = {row.component.address for row in block_rows[:below]}
    sublayers = [pair for pair in everything if pair[0].block in top]
    handed = settles and not config.projections
    sublayers, broken = sweep.run(sublayers, money, modules if handed else 0)
    left_out |= broken
    gains = _gains(sweep, sublayers)
    sublayer_rows = analysis.rows(sublayers, gains)
    levels = {"block": blocks, "sublayer": sublayers}

    # 5) The heads of these blocks' attentions.
    head_rows: list[Row] = []
    if config.heads:
        heads, unclear = head_conditions((part for part, _ in sublayers), config.mode)
        heads, unfit = sweep.fitting(heads)
        left_out |= unfit
        heads, broken = sweep.run(heads, money, TOP if settles else 0)
        left_out |= unclear | broken
        head_rows = analysis.rows(heads)
        levels["head"] = heads

    # 6) The Linears of these sub-layers.
    linear_rows: list[Row] = []
    if config.projections:
        parts = sweep.catalogue.linears_of(part for part, _ in sublayers)
        linears, unfit = sweep.fitting(
            [(part, Condition((part.address,), config.mode)) for part in parts]
        )
        linears, broken = sweep.run(linears, money, modules if settles else 0)
        left_out |= unfit | broken
        gains = _gains(sweep, linears)
        linear_rows = analysis.rows(linears, gains)
        levels["projection"] = linears
    rows = analysis.over_levels([*block_rows, *sublayer_rows, *head_rows, *linear_rows])
    choice = decided(analysis, levels["projection" if linear_rows else "sublayer"], modules, gains)
    reseeded = None
    if config.noise_floor and "noise_floor" in takes:
        spread = evenly_spaced(linear_rows or sublayer_rows or block_rows, RESEEDED)
        reseeded = sweep.reseeded([Condition((r.component.address,), r.mode) for r in spread])

    # 7) What follows the ranking: pictures of it, token positions, joint conditions, the set.
    parts = [block for block, _ in blocks]
    ranked = Ranked(studied, sweep, analysis, rows, parts, split, information, folder)
    findings = explore(ranked)
    by_ablation = analysis.has_skill and config.rank_by in ("impact", "specificity")
    more: dict[str, Any] = {"decided": choice}
    if linear_rows and by_ablation and not MODES[config.mode].restores:
        more["set"] = choose_jointly(ranked.follow_up, linear_rows)
    return finish_ranking(
        folder,
        sweep,
        analysis,
        information,
        notes,
        levels,
        rows,
        left_out,
        reseeded,
        findings,
        more,
    )


def open_sweep(
    studied: Studied,
    split: Split,
    config: LocalizeConfig,
    seed: int,
    folder: Path,
    on_progress: Progress | None = None,
    cache: Path | None = None,
    judging: Judging | None = None,
) -> Sweep[Any]:
    """The sweep of the recipe's probe in a folder; arguments as for `localize`."""
    processes = Processes(studied)
    texts = len(split.measured[0].texts) if split.measured else TEXTS
    levels = Levels(config.sigmas, config.noises, seed, config.batch_size, texts)
    model = model_hash(studied)
    section, directions = config.section(), config.directions
    setting = Setting(studied, split, section, levels, model, folder, judging, cache, directions)
    return Sweep(PROBES[config.probe](setting), config, folder, processes, on_progress)


def _choose(
    studied: Studied,
    contrasts: Sequence[Contrast],
    config: LocalizeConfig,
    seed: int,
    judged: bool,
) -> tuple[Split, list[str]]:
    """The scenes to measure and to calibrate on, and what to tell the user about the choice."""
    notes: list[str] = []
    if MODES[config.mode].restores and isinstance(studied, Denoiser):
        training = [contrast for contrast in contrasts if contrast.split == TRAINING]
        contrasts = of_equal_length(studied, training)
        kept, groups = ({contrast.cluster for contrast in part} for part in (contrasts, training))
        notes.append(
            f"patching: {len(kept)} of {len(groups)} contrast groups have captions and foils of "
            "equally many tokens; only these are measured"
        )
    calibration = config.calibrated_groups
    needs = PROBES[config.probe].needs(config.section(), judged)
    if not needs.groups + calibration:
        return Split([], []), notes
    return split_groups(contrasts, needs.groups, calibration, seed, needs.key), notes


def _heads(sweep: Sweep[Any], block: Component) -> int:
    found = [child.heads for child in sweep.catalogue.children(block)]
    return sum(heads.count for heads in found if isinstance(heads, Heads))


def _gains(sweep: Sweep[Any], measured: Measured) -> dict[str, np.ndarray] | None:
    if sweep.config.rank_by != "gradient" and not sweep.config.report_gradient:
        return None
    return sweep.gains([component for component, _ in measured])


def finish_ranking(
    folder: Path,
    sweep: Sweep[Any],
    analysis: Analysis,
    information: dict[str, Any] | None,
    notes: Sequence[str],
    levels: dict[str, Measured],
    rows: Sequence[Row],
    left_out: dict[str, str],
    reseeded: Sequence[np.ndarray] | None,
    findings: Sequence[Finding] = (),
    more: Mapping[str, Any] | None = None,
) -> Ranking:
    """Put all that was found into one ranking, and write its files.

    Args:
        folder: of the stage.
        sweep: what was measured.
        analysis: its statistics.
        information: the contents of information.json, where captions are contrasted.
        notes: what to tell beside the ranking, one line each.
        levels: ranked components with their conditions, by level.
        rows: of all levels, in their order.
        left_out: addresses that could not be ranked, with the reason.
        reseeded: impacts of some minus the same on other noise, (n,) each, where that was measured.
        findings: what follows the ranking.
        more: further entries of ranking.json.
    """
    config, probe = sweep.config, sweep.probe
    sweep.finish()
    ranked = analysis.has_skill or config.rank_by == "gradient"
    measured = probe.setting.split.measured
    data: dict[str, Any] = {
        "schema": SCHEMA,
        "verdict": RANKED if ranked else NO_SKILL,
        "probe": probe.name,
        "title": probe.title,
        "figures": [figure.as_dict() for figure in probe.figures],
        "figure": analysis.figure.name,
        "foils": dict(measured[0].foils) if measured else {},
        "shows_values": probe.values,
        "rank_by": config.rank_by,
        "ranked_by": analysis.ranked_by,
        "confidence": config.confidence,
        **({"sigmas": list(probe.parts)} if probe.parts else {}),
        "baseline": analysis.baseline_dict(),
        "components": [row.as_dict() for row in rows],
        "left_out": left_out,
        "trust": trust(
            analysis,
            sweep.groups,
            levels,
            rows,
            reseeded,
            TOP,
            sweep.seed,
        ),
        **probe.summary(),
        **(more or {}),
    }
    messages = [found.message for found in findings if found.message]
    said = (*notes, *probe.notes(), *messages)
    ranking = Ranking(data, said, information)
    if not sweep.processes.is_first:
        return ranking
    write_csv(data, folder / "ranking.csv")
    write_heatmap(data, [block.address for block in sweep.catalogue.blocks], folder / "heatmap.png")
    write_bars(data, folder)
    if probe.values:
        write_layers(data, sweep.catalogue, folder)
    for finding in findings:
        finding.write(folder)
    ranking.write(folder)
    files.write_json(folder / "cost.json", sweep.cost_dict())
    return ranking
