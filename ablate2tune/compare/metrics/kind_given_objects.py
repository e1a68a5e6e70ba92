"""Pictures of the right kind of arrangement, whoever stands where, given both objects."""

from ablate2tune.compare.metrics.metric import METRICS, Metric
from ablate2tune.compare.relation_reading import right_kind
from ablate2tune.compare.shown import Shown


def _value(shown: Shown, reference: Shown) -> float | None:
    if shown.prompt.relation is None or not shown.read.objects:
        return None
    return float(right_kind(shown.prompt.relation, shown.read.relation_read))


METRICS.add("kind_given_objects", Metric("  kind, given objects", _value, 4, by_relation=True))
