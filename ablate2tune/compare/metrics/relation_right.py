"""Pictures that show both objects in the prompt's relation."""

from ablate2tune.compare.metrics.metric import METRICS, Metric
from ablate2tune.compare.shown import Shown


class RelationRight(Metric):
    """Pictures that show both objects in the prompt's relation."""

    title = "relation right"
    place = 1
    by_relation = True

    def value(self, shown: Shown, reference: Shown) -> float | None:
        """1 or 0; None without a relation."""
        if shown.prompt.relation is None:
            return None
        return float(bool(shown.read.spatial))


METRICS.add("spatial", RelationRight())
