"""Which evidence the recipe asks for: the probe, and rendered pictures or the model's own."""

from collections.abc import Sequence
from pathlib import Path

from ablate2tune.compare.compare_config import CompareConfig
from ablate2tune.contrasts.contrast import TRAINING
from ablate2tune.contrasts.makers.rendered_scenes import scene_contrasts
from ablate2tune.localize.judging import judging
from ablate2tune.localize.localize_config import LocalizeConfig
from ablate2tune.localize.localizing import localize
from ablate2tune.localize.own.stage import localize_on_own
from ablate2tune.localize.probes.probe import PROBES, Needs
from ablate2tune.localize.ranking.ranking_file import Ranking
from ablate2tune.models import Denoiser
from ablate2tune.progress import Progress
from ablate2tune.scenes.dataset.records import SceneRecord
from ablate2tune.statistics.resampling import Resampling


def needs(config: LocalizeConfig, compare: CompareConfig) -> Needs:
    """What the recipe's probe needs.

    Raises:
        UserError: nothing could be measured.
    """
    return PROBES[config.probe].needs(config.section(), compare.judge is not None)


def needs_scenes(config: LocalizeConfig, compare: CompareConfig) -> bool:
    """Whether rendered scenes are read: measured, or calibrated on."""
    return bool(needs(config, compare).groups) or config.calibrated_groups > 0


def rank(
    denoiser: Denoiser,
    records: Sequence[SceneRecord],
    config: LocalizeConfig,
    compare: CompareConfig,
    seed: int,
    folder: Path,
    on_progress: Progress | None = None,
    cache: Path | None = None,
) -> list[Ranking]:
    """Rank the model's components by the evidence that the recipe asks for.

    Args:
        denoiser: the model.
        records: the data set: training scenes are measured, test scenes tell the judge's error.
        config: the evidence.
        compare: the judge.
        seed: of everything drawn.
        folder: of the stage.
        on_progress: told (done, in all).
        cache: folder of calibrated means, shared between runs.

    Returns:
        The ranking in ranking.json; then that of the model's own pictures, if both were asked for.

    Raises:
        UserError: what `localize` and `localize_on_own` raise.
    """
    training = scene_contrasts(records).of(TRAINING)
    arguments = denoiser, training, config, seed, folder
    judge = None
    if needs(config, compare).judge:
        how = Resampling(seed, config.bootstrap, config.confidence)
        judge = judging(compare.judge, records, compare.calibration_images, how, denoiser.device)
    if config.images == "rendered":
        return [localize(*arguments, on_progress, cache, judge)]
    assert judge is not None, "own pictures are judged"
    found = localize_on_own(*arguments, judge, on_progress, cache)
    return [found.primary, *([found.own] if found.own else [])]
