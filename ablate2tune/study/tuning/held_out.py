"""The held-out margin: how much better test scenes are explained by their captions than by foils.

At pure noise, where the caption alone decides the layout. It needs no sampling, so that every cell
of a study can afford it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ablate2tune.contrasts.contrast import TEST
from ablate2tune.contrasts.makers.rendered_scenes import scene_contrasts
from ablate2tune.errors import UserError
from ablate2tune.localize.margins.caption_losses import Batch, Levels, batch_loss, measure
from ablate2tune.localize.margins.encoded_examples import encode
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.models import Denoiser
from ablate2tune.scenes.dataset.records import SceneRecord

SIGMA = 1.0
"""At lower noise the latents show the layout already, and the caption says nothing new."""
NOISES = 2
"""Noise draws of each scene."""
BATCH = 32
"""Latents of a forward pass."""


def test_scenes(records: Sequence[SceneRecord]) -> list[SceneRecord]:
    """The held-out ones.

    Raises:
        UserError: there are none.
    """
    found = [record for record in records if record.split == TEST]
    if not found:
        raise UserError(
            "there are no test scenes to measure a margin on",
            where="the data set",
            mend="render some: scenes.test_images",
        )
    return found


@torch.no_grad()
def held_out_margins(
    denoiser: Denoiser, records: Sequence[SceneRecord], seed: int
) -> list[dict[str, Any]]:
    """One row per scene: `example`, `group`, `relation`, `margin`.

    The margin is the squared error under the caption with the opposite relation, minus that under
    the true one, per element of the latents (see `localize.margins`).
    """
    contrasts = []
    for contrast in scene_contrasts(records).examples:
        texts = {role: text for role, text in contrast.texts.items() if role != "control"}
        contrasts.append(replace(contrast, texts=texts))
    examples = encode(denoiser, contrasts)
    levels = Levels((SIGMA,), NOISES, seed, BATCH, texts=2)
    whole, margins = Condition(), list[float]()

    def losses(batch: Batch, conditions: Sequence[Condition]) -> dict[Condition, np.ndarray]:
        return {whole: batch_loss(denoiser, batch).double().cpu().numpy()}

    for start in range(0, len(examples), levels.examples_per_batch):
        chunk = range(len(examples))[start : start + levels.examples_per_batch]
        found = measure(losses, examples, levels, chunk, [whole], denoiser.device)[whole]
        margins += found.target[:, 0].tolist()
    return [
        {
            "example": record.scene_id,
            "group": record.group_id,
            "relation": record.relation,
            "margin": margin,
        }
        for record, margin in zip(records, margins, strict=True)
    ]


def by_relation(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The mean margin of each relation, in the order in which they come."""
    names = dict.fromkeys(row["relation"] for row in rows)
    return {
        name: float(np.mean([row["margin"] for row in rows if row["relation"] == name]))
        for name in names
    }
