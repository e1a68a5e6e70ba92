"""What a sweep by pictures needs before its first one: tasks, means, whose rows they are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ablate2tune import runs
from ablate2tune.errors import UserError
from ablate2tune.localize.generate.clip import Clip
from ablate2tune.localize.generate.examples import check_judgeable, pair_examples, scene_examples
from ablate2tune.localize.generate.inception import Inception, installed
from ablate2tune.localize.generate.measures import Reference, reference
from ablate2tune.localize.generate.pairs import Pair, read_pairs
from ablate2tune.localize.generate.sweep import GenerateSweep, Tasks
from ablate2tune.localize.judging import Judging, judge_hash
from ablate2tune.localize.localize_config import GenerateConfig, LocalizeConfig
from ablate2tune.localize.margins.examples import Split, split_groups
from ablate2tune.localize.margins.margin import Levels, noised_batch
from ablate2tune.localize.measuring.activation_means import Calibration
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.measuring.engine import Engine
from ablate2tune.localize.measuring.sweep_identity import scenes_hash
from ablate2tune.localize.sampling import calibrated_timesteps
from ablate2tune.models import Denoiser
from ablate2tune.scenes.dataset.records import SceneRecord
from ablate2tune.seeding import torch_generator

SCHEMA = "ablate2tune/identity/2"
PROBE = "generate/1"
"""Raised whenever the same inputs give other pictures or rows."""


def scenes_for(
    records: Sequence[SceneRecord], config: LocalizeConfig, judging: Judging | None, seed: int
) -> Split:
    """Scenes whose captions are drawn and judged, and scenes that means are taken from.

    Raises:
        UserError: there is nothing to measure pictures by, too few scenes, or scenes that the
            judge cannot read.
    """
    if judging is None and config.generate.pairs is None:
        raise UserError(
            "there is nothing to measure pictures by",
            where="localize.probe = generate",
            mend="set compare.judge to a judge's folder, or localize.generate.pairs to a folder of "
            "pictures with captions",
        )
    groups = config.generate.groups if judging else 0
    calibration = config.calibrated_groups
    if not groups + calibration:
        return Split([], [])
    there = len({record.group_id for record in records if record.split == "train"})
    if there < groups + calibration:
        raise UserError(
            f"{groups} contrast groups to draw and {calibration} to calibrate on are asked for, "
            f"the data set has {there}",
            where="localize.generate.groups, localize.calibration_groups",
            mend="lower them or render more scenes",
        )
    split = split_groups(records, groups, calibration, seed)
    if judging:
        check_judgeable(judging.judge, split.measured, "localize.probe = generate")
    return split


def pairs_for(config: GenerateConfig, seed: int) -> list[Pair]:
    """The pairs whose captions are drawn; none where the recipe has none."""
    return read_pairs(config.pairs, config.pair_count, seed) if config.pairs else []


def tasks_for(
    split: Split,
    pairs: Sequence[Pair],
    config: GenerateConfig,
    judging: Judging | None,
    seed: int,
    device: torch.device,
) -> Tasks:
    """What is drawn and how it is measured; loads CLIP and InceptionV3 where there are pairs."""
    return Tasks(
        scene_examples(split.measured, range(config.seeds), seed),
        judging.judge if judging else None,
        pair_examples(pairs, config.seeds, seed),
        _reference(pairs, config, device) if pairs else None,
    )


def _reference(pairs: Sequence[Pair], config: GenerateConfig, device: torch.device) -> Reference:
    wanted = config.fid == "on" or (config.fid == "auto" and installed())
    inception = Inception(config.inception, device) if wanted else None
    return reference(pairs, Clip(config.clip, device), inception)


def generate_identity(
    model: str,
    denoiser: Denoiser,
    tasks: Tasks,
    pairs: Sequence[Pair],
    split: Split,
    judging: Judging | None,
    config: LocalizeConfig,
    seed: int,
) -> dict[str, Any]:
    """What pictures and rows depend on: the contents of `identity.json`.

    Args:
        model: from `identity.model_hash`.
        denoiser: the model.
        tasks: what is drawn.
        pairs: the real pictures.
        split: scenes that are drawn, and those that means are taken from.
        judging: the judge.
        config: sampling settings and noise levels.
        seed: of everything drawn.
    """
    settings = config.generate
    examples = [[e.name, e.group, e.text, e.image_seed] for e in tasks.examples]
    reference = tasks.reference
    return {
        "schema": SCHEMA,
        "probe": PROBE,
        "model": model,
        "guidance_scale": denoiser.config.guidance_scale,
        "steps": settings.steps,
        "true_cfg_scale": settings.true_cfg_scale,
        "examples": runs.content_hash(examples),
        "pairs": runs.content_hash(*(pair.path for pair in pairs)),
        "judge": judge_hash(judging) if judging else None,
        "clip": reference.clip.describe() if reference else None,
        "fid": bool(reference and reference.inception),
        "inception": runs.content_hash(settings.inception) if settings.inception else None,
        "calibration": scenes_hash(split.calibration),
        "sigmas": list(config.sigmas),
        "seed": seed,
    }


class SamplingMeans:
    """Means over calibration scenes, put into a sweep before its conditions are drawn."""

    def __init__(
        self,
        denoiser: Denoiser,
        calibration: Sequence[SceneRecord],
        config: LocalizeConfig,
        model: str,
        cache: Path | None,
        seed: int,
    ):
        """Nothing is run yet.

        Args:
            denoiser: the model.
            calibration: scenes that are never drawn.
            config: noise levels; at each sampling step the means of the nearest one count.
            model: from `identity.model_hash`.
            cache: folder of means from earlier runs; None keeps none.
            seed: of the noise.
        """
        self._denoiser, self._config, self._seed = denoiser, config, seed
        levels = Levels(config.sigmas, 1, seed, config.batch_size)
        self._calibration = Calibration(denoiser, calibration, levels, model, cache)
        self._engine = Engine(denoiser, config.batch_size)

    def provide(self, sweep: GenerateSweep, conditions: Sequence[Condition]) -> None:
        """Calibrate what the conditions need."""
        wanted = [a for c in conditions if c.needs("means") for a in c.addresses]
        if not wanted:
            return
        self._calibration.provide(self._engine, wanted, write=sweep.processes.is_first)
        sweep.means = self._engine.means
        if not sweep.timesteps:
            sweep.timesteps = calibrated_timesteps(self._denoiser, self._run_levels)

    def _run_levels(self) -> None:
        for sigma in self._config.sigmas:
            run_once(self._denoiser, sigma, self._seed)


@torch.no_grad()
def run_once(denoiser: Denoiser, sigma: float, seed: int, rows: int = 2) -> Tensor:
    """The prediction for noise at one noise level, under an empty prompt: for checks."""
    pixels = torch.zeros((1, denoiser.config.height, denoiser.config.width, 3), dtype=torch.uint8)
    shape = denoiser.encode_images(pixels.numpy()).shape[1:]
    noise = torch.randn((rows, *shape), generator=torch_generator(seed, "check"))
    noise = noise.to(denoiser.device)
    conditioning = denoiser.encode_prompts(["a picture"] * rows)
    return noised_batch(denoiser, noise, noise, sigma, conditioning)
