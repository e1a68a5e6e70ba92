"""A metric of a user's own, over two arms: how often the verdict is not the reference's."""

from ablate2tune.compare.metrics import METRICS, Metric
from ablate2tune.compare.shown import Shown


def flipped(shown: Shown, reference: Shown) -> float | None:
    """1 or 0; None without a relation."""
    if shown.prompt.relation is None:
        return None
    return float(shown.read.spatial != reference.read.spatial)


METRICS.add("flipped", Metric("verdict flipped", flipped, of_two=True, by_relation=True))
