"""The margin probe on the model's own pictures, alone or beside the rendered ones."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ablate2tune import files
from ablate2tune.compare.judges.judging import Judging
from ablate2tune.contrasts.contrast import Contrast
from ablate2tune.errors import UserError
from ablate2tune.localize.localize_config import LocalizeConfig
from ablate2tune.localize.localizing import localize
from ablate2tune.localize.margins.encoded_examples import Split, split_groups
from ablate2tune.localize.measuring.processes import Processes
from ablate2tune.localize.measuring.racing import TOP
from ablate2tune.localize.measuring.sweep_identity import model_hash
from ablate2tune.localize.own.agreement import agreement, draw_agreement, line
from ablate2tune.localize.own.own_pictures import OwnImages, draw_own
from ablate2tune.localize.ranking.ranking_file import Ranking
from ablate2tune.models import Denoiser
from ablate2tune.progress import Progress
from ablate2tune.statistics.resampling import Resampling

SCHEMA = "ablate2tune/own-images/1"
MIN_GROUPS = 16
"""Contrast groups with a verified picture under which no ranking is made of them, since 8 groups
allow no label at all; a quarter of it for calibration."""


class Sources(NamedTuple):
    """Rankings by source of examples."""

    primary: Ranking
    """The one in `ranking.json`: of rendered pictures where they are asked for."""
    own: Ranking | None
    """Of the model's own pictures, where it is not the primary one."""


def localize_on_own(
    denoiser: Denoiser,
    contrasts: Sequence[Contrast],
    config: LocalizeConfig,
    seed: int,
    folder: Path,
    judging: Judging,
    on_progress: Progress | None = None,
    cache: Path | None = None,
    modules: int = TOP,
) -> Sources:
    """Rank components on pictures that the model made and the judge verified.

    The captions are those of the groups that the rendered sweep measures and calibrates on; a
    group stays on its side. With `images: both` the rendered sweep comes first and its files lie
    in `folder`, those of the other in `folder/own`; agreement.json and agreement.png compare them.
    The pictures lie below `folder/own-images`, their counts in own-images.json.

    Args:
        denoiser: the model.
        contrasts: the training ones are used.
        config: as for `localize`; `own` says how pictures are sampled.
        seed: of the groups, the noise and the resampling.
        folder: where the files go.
        judging: the judge.
        on_progress: told (done, in all): pictures, then block evaluations.
        cache: folder of calibrated means, shared between runs.
        modules: how many will be tuned.

    Raises:
        UserError: what `localize` raises; the judge cannot read the scenes; or, with
            `images: own`, too few contrast groups have a verified picture.
    """
    both = config.images == "both"
    rendered = None
    if both:
        rendered = localize(
            *(denoiser, contrasts, config, seed, folder, on_progress, cache), modules=modules
        )
    split = split_groups(contrasts, config.groups, config.calibrated_groups, seed)
    processes = Processes(denoiser)
    own = draw_own(
        denoiser,
        [*split.measured, *split.calibration],
        config.own,
        seed,
        folder / "own-images",
        model_hash(denoiser),
        judging,
        processes,
        on_progress,
    )
    if processes.is_first:
        files.write_json(folder / "own-images.json", _counts(own, split, judging))
    notes = [own.line(), judging.line()]
    shortage = _shortage(own, split)
    if shortage and rendered is None:
        raise UserError(
            shortage,
            where="localize.images = own",
            mend="raise localize.own.seeds or localize.groups, or set images=rendered",
        )
    if shortage and rendered is not None:
        return Sources(_noted(rendered, [*notes, f"{shortage}; only rendered are ranked"]), None)
    fewer = {"groups": own.groups(split.measured)}
    if config.calibrated_groups:
        fewer["calibration_groups"] = own.groups(split.calibration)
    place = folder / "own" if both else folder
    config = config.model_copy(update=fewer)
    ranking = localize(
        *(denoiser, own.contrasts, config, seed, place, on_progress, cache), modules=modules
    )
    if rendered is None:
        return Sources(_noted(ranking, notes), None)
    found = agreement(
        folder,
        place,
        [rendered.data, ranking.data],
        Resampling(seed, config.bootstrap, config.confidence),
    )
    if processes.is_first:
        files.write_json(folder / "agreement.json", found)
        draw_agreement(found, folder / "agreement.png")
    return Sources(_noted(rendered, [*notes, line(found)]), ranking)


def _noted(ranking: Ranking, notes: Sequence[str]) -> Ranking:
    return replace(ranking, notes=(*ranking.notes, *notes))


def _shortage(own: OwnImages, split: Split) -> str | None:
    """Why no ranking can be made of the verified pictures; None if one can."""
    needs = [("", split.measured, MIN_GROUPS)]
    if split.calibration:
        needs.append(("calibration ", split.calibration, max(1, MIN_GROUPS // 4)))
    for kind, contrasts, least in needs:
        found, asked = own.groups(contrasts), len({contrast.cluster for contrast in contrasts})
        if found < least:
            return (
                f"{found} of {asked} {kind}groups have a picture of the model's own that the judge "
                f"verified ({len(own.contrasts)} of {own.drawn} pictures kept), {least} are needed"
            )
    return None


def _counts(own: OwnImages, split: Split, judging: Judging) -> dict[str, Any]:
    """The contents of `own-images.json`."""
    return {
        "schema": SCHEMA,
        "captions": own.captions,
        "drawn": own.drawn,
        "kept": len(own.contrasts),
        "rejected": own.rejected,
        "groups": own.groups(split.measured),
        "calibration_groups": own.groups(split.calibration),
        "pictures": [own.folder.name] if own.contrasts else [],
        "judge": judging.as_dict(),
    }
