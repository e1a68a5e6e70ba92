"""The localize stage: from a model and a data set to a ranking of its components."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ablate2tune import runs
from ablate2tune.ablation import Means, Verification, ablated, collect_means, verify
from ablate2tune.components import Catalogue, Component, discover
from ablate2tune.localize.examples import Examples, Split, encode, split_groups
from ablate2tune.localize.information import Information, check_information
from ablate2tune.localize.margin import Levels, measure, noise_for, noised_batch, run_captions
from ablate2tune.localize.ranking import NO_SKILL, RANKED, SCHEMA, Analysis, Ranking, Row
from ablate2tune.localize.results import Condition, Results
from ablate2tune.localize.show import write_csv, write_heatmap
from ablate2tune.pipelines import FluxDenoiser, Progress
from ablate2tune.recipe import LocalizeConfig
from ablate2tune.scenes.dataset import SceneRecord

Measured = list[tuple[Component, Condition]]


def localize(
    denoiser: FluxDenoiser,
    records: Sequence[SceneRecord],
    config: LocalizeConfig,
    seed: int,
    folder: Path,
    on_progress: Progress | None = None,
) -> Ranking:
    """Rank blocks, then the sub-layers of the top blocks, by what the model loses without them.

    Writes information.json, results.jsonl, ranking.json, ranking.csv and heatmap.png below
    `folder`. A killed run continues where it stopped and ends with the same ranking.

    Args:
        denoiser: the model.
        records: the data set; its training scenes are used.
        config: groups, noise levels, modes, statistics.
        seed: of the groups, the noise and the resampling.
        folder: where the files go.
        on_progress: told (conditions done, conditions in all); the total is an upper bound until
            the top blocks are known.

    Raises:
        UserError: too few contrast groups, a loss that is not finite, fused projections, or a
            model without blocks.
    """
    # 1) Choose and encode; whether the conditioning carries the distinction comes first.
    calibration_groups = config.calibration_groups if config.mode == "mean" else 0
    split = split_groups(records, config.groups, calibration_groups, seed)
    information = check_information(
        denoiser,
        [*split.measured, *split.calibration],
        config.bootstrap,
        config.confidence,
        seed,
    )
    runs.write_json(folder / "information.json", information.as_dict())
    sweep = Sweep(denoiser, split, config, seed, folder, on_progress)

    # 2) Baseline. Without skill there is nothing to rank.
    sweep.run(Condition())
    analysis = sweep.analysis()
    if not analysis.has_skill:
        return _finish(folder, sweep, analysis, information, [], {})

    # 3) Ablations that do not do what they say are left out by name.
    verification = sweep.verify()
    passed = set(verification.passed)

    # 4) Blocks, then the sub-layers of the best of them.
    blocks = [
        (block, Condition((block.address,), "skip"))
        for block in sweep.catalogue.blocks
        if block.address in passed
    ]
    sweep.plan([block for block, _ in blocks])
    for _, condition in blocks:
        sweep.run(condition)
    block_rows = analysis.rows(blocks)
    top = {row.component.address for row in block_rows[: config.top_blocks]}
    sublayers = [
        (child, Condition((child.address,), config.mode))
        for block, _ in blocks
        if block.address in top
        for child in sweep.catalogue.children(block)
        if child.address in passed
    ]
    sweep.run_sublayers(sublayers)
    rows = analysis.over_levels([*block_rows, *analysis.rows(sublayers)])
    return _finish(folder, sweep, analysis, information, rows, verification.failed)


class Sweep:
    """Runs conditions that are not on disk yet."""

    def __init__(
        self,
        denoiser: FluxDenoiser,
        split: Split,
        config: LocalizeConfig,
        seed: int,
        folder: Path,
        on_progress: Progress | None,
    ):
        """Encode the measured examples and read what an earlier run left."""
        self.catalogue: Catalogue = discover(denoiser.model)
        self._denoiser, self.config, self._seed = denoiser, config, seed
        self._calibration = split.calibration
        self._examples: Examples = encode(denoiser, split.measured)
        self._results = Results(folder / "results.jsonl", self._examples.ids, self._examples.groups)
        self._levels = Levels(config.sigmas, config.noises, seed, config.batch_size)
        self._on_progress, self._done = on_progress, 0
        self.plan(self.catalogue.blocks)

    def analysis(self) -> Analysis:
        """Statistics over the conditions that ran."""
        return Analysis(self._results, self._examples.groups, self.config, self._seed)

    def plan(self, blocks: Sequence[Component]) -> None:
        """Estimate the number of conditions from above: the blocks with most sub-layers count."""
        sizes = sorted(len(self.catalogue.children(block)) for block in blocks)
        self._total = 1 + len(blocks) + sum(sizes[-self.config.top_blocks :])

    def verify(self) -> Verification:
        """Check the ablations on a batch of the measured examples at the first noise level."""
        examples, levels = self._examples, self._levels
        batch = range(min(2, len(examples)))
        latents = examples.latents[: len(batch)].to(self._denoiser.device)
        noise = torch.stack(
            [noise_for(examples.ids[i], latents.shape[1:], levels.seed, 0, 0) for i in batch]
        ).to(latents.device)
        conditioning = examples.conditioning[[examples.caption[i] for i in batch]]

        def run() -> Tensor:
            return noised_batch(self._denoiser, latents, noise, levels.sigmas[0], conditioning)

        return verify(self._denoiser.model, run)

    def run(self, condition: Condition, means: Means | None = None) -> None:
        """Measure under one condition and append its rows, unless they are there."""
        if condition not in self._results:
            began = time.perf_counter()
            state = means or Means()

            def on_sigma(index: int) -> None:
                state.sigma_index = index

            with ablated(self._denoiser.model, condition.ablations, state):
                margins = measure(
                    self._denoiser, self._examples, self._levels, on_sigma, str(condition)
                )
            self._results.add(condition, margins, time.perf_counter() - began)
        self._done += 1
        if self._on_progress:
            self._on_progress(self._done, max(self._total, self._done))

    def run_sublayers(self, sublayers: Measured) -> None:
        """Measure under the ablation of each sub-layer; means are collected if any is missing."""
        self._total = self._done + len(sublayers)
        missing = [part.address for part, condition in sublayers if condition not in self._results]
        means = None
        if missing and self.config.mode == "mean":
            examples = encode(self._denoiser, self._calibration)

            def calibrate(means: Means) -> None:
                def on_sigma(index: int) -> None:
                    means.sigma_index = index

                run_captions(self._denoiser, examples, self._levels, on_sigma)

            means = collect_means(self._denoiser.model, missing, calibrate)
        for _, condition in sublayers:
            self.run(condition, means)


def _finish(
    folder: Path,
    sweep: Sweep,
    analysis: Analysis,
    information: Information,
    rows: Sequence[Row],
    left_out: dict[str, str],
) -> Ranking:
    config = sweep.config
    data: dict[str, Any] = {
        "schema": SCHEMA,
        "verdict": RANKED if analysis.has_skill else NO_SKILL,
        "probe": "margin",
        "rank_by": config.rank_by,
        "ranked_by": analysis.ranked_by,
        "confidence": config.confidence,
        "sigmas": list(config.sigmas),
        "baseline": analysis.baseline_dict(),
        "components": [row.as_dict() for row in rows],
        "left_out": left_out,
    }
    ranking = Ranking(data, information.as_dict())
    write_csv(data, folder / "ranking.csv")
    write_heatmap(data, [block.address for block in sweep.catalogue.blocks], folder / "heatmap.png")
    ranking.write(folder)
    return ranking
