"""Pictures that show both objects in their colours."""

from ablate2tune.compare.metrics.metric import METRICS, Metric
from ablate2tune.compare.shown import Shown


class ObjectsRight(Metric):
    """Pictures that show both objects in their colours."""

    title = "objects right"
    place = 6

    def value(self, shown: Shown, reference: Shown) -> float | None:
        """1 or 0; None without a relation."""
        return None if shown.prompt.relation is None else float(shown.read.objects)


METRICS.add("objects", ObjectsRight())
