"""Pictures that show more than the two objects."""

from ablate2tune.compare.metrics.metric import METRICS, Metric
from ablate2tune.compare.shown import Shown


def _value(shown: Shown, reference: Shown) -> float | None:
    return None if shown.prompt.relation is None else float(shown.read.extra > 0)


METRICS.add("extra", Metric("extra objects", _value, 7))
