"""Twin scenes in a batch: each is what the other's foil says, and at high noise they are one input.

At noise level 1 a flow's input is the noise itself: with the same noise, what the model predicts
under a caption does not depend on the picture. A scene and its twin then have four losses (each
under its caption and under its foil, which is the other's caption), and two forward passes.

Below 1 the input holds something of a picture, by which a model can tell the layout without the
caption; in its own samples it then follows what the noise happens to suggest. So twins are noised
from the mean of both pictures, at the levels near 1 at which that is nearly as likely an input as
either: again one input, in which the caption alone says which of the two is meant. Towards its own
picture x a row's target is the velocity (input - x) / sigma, as that of any flow.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ablate2tune.errors import UserError
from ablate2tune.models import Denoiser
from ablate2tune.models.schedules import FlowMatching
from ablate2tune.scenes.dataset.records import SceneRecord
from ablate2tune.train.step_plan import Batch


def check_twins(denoiser: Denoiser, records: Sequence[SceneRecord]) -> None:
    """See that twins can share forward passes.

    Raises:
        UserError: something of a picture is left at this family's highest noise level, or there are
            pictures of the user's own, which have no twins.
    """
    if not isinstance(denoiser.schedule, FlowMatching):
        raise UserError(
            "the model is no flow: its inputs hold something of the picture at any noise level",
            where="train.twins",
            mend="leave it out",
        )
    if not all(record.relation for record in records):
        raise UserError(
            "pictures of your own have no twins",
            where="train.twins",
            mend="leave it out, or train.data",
        )


def twin_order(records: Sequence[SceneRecord]) -> list[int]:
    """Places of the records, twins side by side, at even places and behind.

    Two of a group are twins whose captions are each other's foils. The others stand at the end, two
    by two as they come, the last beside the first where their number is odd.
    """
    pairs: list[int] = []
    waiting: dict[tuple[str, bool, str], int] = {}
    for place, record in enumerate(records):
        kind = record.group_id, record.mirrored
        other = waiting.get((*kind, record.foil))
        if other is not None and records[other].foil == record.text:
            pairs += [waiting.pop((*kind, record.foil)), place]
        else:
            waiting[(*kind, record.text)] = place
    alone = sorted(set(range(len(records))) - set(pairs))
    return [*pairs, *alone, *(alone[:1] if len(alone) % 2 else [])]


def same_inputs(batch: Batch, places: Sequence[int], captions: Sequence[str]) -> list[int] | None:
    """For each of a step's rows, the first row with the same input; None where no two have one.

    Args:
        batch: what the rows are of.
        places: of each row's picture.
        captions: under which it is seen.
    """
    if not batch.noises:
        return None
    first: dict[tuple[int, str], int] = {}
    sigma = batch.sigma.tolist()
    found = [
        first.setdefault((batch.noises[place], caption), row)
        if sigma[place] == 1 or (batch.twins and batch.twins[place] is not None)
        else row
        for row, (place, caption) in enumerate(zip(places, captions, strict=True))
    ]
    return found if len(set(found)) < len(found) else None


def noise_of_twins(batch: Batch, latents: Tensor, others: Tensor) -> Tensor:
    """The batch's noise, changed where a picture is noised from the mean of two.

    (1 - s) * x + s * (e + (1 - s) / s * (y - x) / 2) = (1 - s) * (x + y) / 2 + s * e.

    Args:
        batch: `twins` says which pictures these are.
        latents: clean, (batch, ...).
        others: of these pictures' twins, in their order, (some, ...).

    Returns:
        (batch, ...), float32.
    """
    noise = torch.stack(list(batch.noise))
    places = [place for place, twin in enumerate(batch.twins) if twin is not None]
    sigma = batch.sigma[places].reshape(-1, *[1] * (latents.ndim - 1))
    away = (others - latents[places]).float() / 2
    return noise.index_add(0, torch.tensor(places), (1 - sigma) / sigma * away)
