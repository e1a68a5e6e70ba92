"""Which evidence the recipe asks for: margins on rendered or own pictures, or sampled pictures."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from ablate2tune.compare.compare_config import CompareConfig
from ablate2tune.localize.generate.show import table as pictures_table
from ablate2tune.localize.generate.stage import GeneratedRanking, localize_by_pictures
from ablate2tune.localize.judging import Judging, judging
from ablate2tune.localize.localize_config import LocalizeConfig
from ablate2tune.localize.localizing import localize
from ablate2tune.localize.own.stage import localize_on_own
from ablate2tune.localize.ranking import ranking_figures as show
from ablate2tune.localize.ranking.ranking import Ranking
from ablate2tune.models import Denoiser, Progress
from ablate2tune.scenes.dataset.records import SceneRecord
from ablate2tune.statistics.resampling import Resampling

AnyRanking = Ranking | GeneratedRanking


def judges(config: LocalizeConfig, compare: CompareConfig) -> bool:
    """Whether `localize` judges pictures."""
    if config.probe == "generate":
        return compare.judge is not None
    return config.images != "rendered"


def needs_scenes(config: LocalizeConfig, compare: CompareConfig) -> bool:
    """Whether rendered scenes are read; pairs alone need none, unless means are taken from them."""
    return config.probe == "margin" or judges(config, compare) or config.calibrated_groups > 0


def rank(
    denoiser: Denoiser,
    records: Sequence[SceneRecord],
    config: LocalizeConfig,
    compare: CompareConfig,
    seed: int,
    folder: Path,
    on_progress: Progress | None = None,
    cache: Path | None = None,
) -> list[AnyRanking]:
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
        UserError: what `localize`, `localize_on_own` and `localize_by_pictures` raise.
    """
    training = [record for record in records if record.split == "train"]
    if config.probe == "margin" and config.images == "rendered":
        return [localize(denoiser, training, config, seed, folder, on_progress, cache)]
    judge = _judging(denoiser, records, config, compare, seed) if judges(config, compare) else None
    if config.probe == "generate":
        return [
            localize_by_pictures(
                denoiser, training, config, seed, folder, judge, on_progress, cache
            )
        ]
    assert judge is not None, "own pictures are judged"
    found = localize_on_own(denoiser, training, config, seed, folder, judge, on_progress, cache)
    return [found.primary, *([found.own] if found.own else [])]


def table(ranking: AnyRanking) -> Table:
    """A ranking for the terminal."""
    shows = pictures_table if ranking.data["probe"] == "generate" else show.table
    return shows(ranking.data)


def _judging(
    denoiser: Denoiser,
    records: Sequence[SceneRecord],
    config: LocalizeConfig,
    compare: CompareConfig,
    seed: int,
) -> Judging:
    return judging(
        compare.judge,
        records,
        compare.calibration_images,
        Resampling(seed, config.bootstrap, config.confidence),
        denoiser.device,
    )
