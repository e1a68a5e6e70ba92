"""Pictures that show both objects in their colours."""

from ablate2tune.compare.metrics.metric import METRICS, Metric
from ablate2tune.compare.shown import Shown


def _value(shown: Shown, reference: Shown) -> float | None:
    return None if shown.prompt.relation is None else float(shown.read.objects)


METRICS.add("objects", Metric("objects right", _value, 6))
