"""Pictures that show both objects, on prompts without a relation."""

from ablate2tune.compare.metrics.metric import METRICS, Metric
from ablate2tune.compare.shown import Shown


class PlainObjects(Metric):
    """Pictures that show both objects, on prompts without a relation: what may be forgotten."""

    title = "objects, no relation"
    place = 8

    def value(self, shown: Shown, reference: Shown) -> float | None:
        """1 or 0; None with a relation."""
        return float(shown.read.objects) if shown.prompt.relation is None else None


METRICS.add("forgetting", PlainObjects())
