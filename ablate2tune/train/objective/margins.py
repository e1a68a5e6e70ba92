"""What the weights are picked by where the relation is taught: held-out margins and retention."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any, NamedTuple

from ablate2tune.scenes.dataset.records import SceneRecord
from ablate2tune.train.validation import HeldOut, Row

DECIDED_AT = 1.0
"""The noise level of the margins: nothing of the picture is to be seen yet, so that the caption
alone says where things stand, as it does when sampling begins."""
DRIFT_AT = (1.0, 0.5)
"""The noise levels of the retention loss: where the layout is decided, and where details are."""

ROWS = 2 + 2 * len(DRIFT_AT)
"""Forward passes that it takes per picture."""


class Taught(NamedTuple):
    """How far held-out relations are told apart, and what it cost."""

    margins: dict[str, float]
    """By relation: the loss under the foil minus the loss under the caption at `DECIDED_AT`."""
    retention: float
    """The squared difference from the base's prediction under captions without a relation."""

    @property
    def margin(self) -> float:
        """The mean over the relations, which count alike however many pictures each has."""
        return fmean(self.margins.values())

    def row(self) -> dict[str, Any]:
        """As a validation in log.jsonl holds it."""
        return {"margin": self.margin, "margins": self.margins, "retention": self.retention}


def measure_taught(held_out: HeldOut, records: Sequence[SceneRecord]) -> Taught:
    """Measure the held-out examples, which these are the records of."""
    captions = [r.text for r in records], [r.foil for r in records]
    rows = [Row(place, DECIDED_AT, text) for told in captions for place, text in enumerate(told)]
    true, foil = held_out.losses(rows).reshape(2, -1)
    by_relation: dict[str, list[float]] = {}
    for record, margin in zip(records, (foil - true).tolist(), strict=True):
        by_relation.setdefault(record.relation, []).append(margin)
    plain = [Row(place, s, r.pair_text) for s in DRIFT_AT for place, r in enumerate(records)]
    return Taught(
        {relation: fmean(margins) for relation, margins in sorted(by_relation.items())},
        held_out.losses(plain, kept=True).mean().item(),
    )
