"""Pictures that show both objects, on prompts without a relation: what may be forgotten."""

from ablate2tune.compare.metrics.metric import METRICS, Metric
from ablate2tune.compare.shown import Shown


def _value(shown: Shown, reference: Shown) -> float | None:
    return float(shown.read.objects) if shown.prompt.relation is None else None


METRICS.add("forgetting", Metric("objects, no relation", _value, 8))
