"""Pictures in the prompt's relation among those that show both objects."""

from ablate2tune.compare.metrics.metric import METRICS, Metric
from ablate2tune.compare.shown import Shown


class RelationGivenObjects(Metric):
    """Pictures in the prompt's relation among those that show both objects."""

    title = "relation given objects"
    place = 3

    def value(self, shown: Shown, reference: Shown) -> float | None:
        """1 or 0; None without a relation or without both objects."""
        if shown.prompt.relation is None or not shown.read.objects:
            return None
        return float(bool(shown.read.relation_right))


METRICS.add("relation_given_objects", RelationGivenObjects())
