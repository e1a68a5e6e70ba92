"""Pictures that show both objects in the prompt's relation."""

from ablate2tune.compare.metrics.metric import METRICS, Metric
from ablate2tune.compare.shown import Shown


def _value(shown: Shown, reference: Shown) -> float | None:
    return None if shown.prompt.relation is None else float(bool(shown.read.spatial))


METRICS.add("spatial", Metric("relation right", _value, 1, by_relation=True))
