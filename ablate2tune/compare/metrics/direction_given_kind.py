"""Pictures in which the right one stands in the right place, given the kind (chance: 1/2)."""

from ablate2tune.compare.metrics.metric import METRICS, Metric
from ablate2tune.compare.relation_reading import right_kind
from ablate2tune.compare.shown import Shown


def _value(shown: Shown, reference: Shown) -> float | None:
    asked, read = shown.prompt.relation, shown.read.relation_read
    if asked is None or not right_kind(asked, read):
        return None
    return float(read == asked)


METRICS.add("direction_given_kind", Metric("  direction, given kind", _value, 5, by_relation=True))
