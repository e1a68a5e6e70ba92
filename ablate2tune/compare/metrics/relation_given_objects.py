"""Pictures in the prompt's relation among those that show both objects."""

from ablate2tune.compare.metrics.metric import METRICS, Metric
from ablate2tune.compare.shown import Shown


def _value(shown: Shown, reference: Shown) -> float | None:
    if shown.prompt.relation is None or not shown.read.objects:
        return None
    return float(bool(shown.read.relation_right))


METRICS.add("relation_given_objects", Metric("relation given objects", _value, 3))
