"""Pictures in the prompt's relation without a duplicate or any other object."""

from ablate2tune.compare.metrics.metric import METRICS, Metric
from ablate2tune.compare.shown import Shown


def _value(shown: Shown, reference: Shown) -> float | None:
    if shown.prompt.relation is None:
        return None
    return float(bool(shown.read.spatial) and shown.read.extra == 0)


METRICS.add("spatial_strict", Metric("  and nothing else", _value, 2))
