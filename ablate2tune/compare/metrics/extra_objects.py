"""Pictures that show more than the two objects."""

from ablate2tune.compare.metrics.metric import METRICS, Metric
from ablate2tune.compare.shown import Shown


class ExtraObjects(Metric):
    """Pictures that show more than the two objects."""

    title = "extra objects"
    place = 7

    def value(self, shown: Shown, reference: Shown) -> float | None:
        """1 or 0; None without a relation."""
        return None if shown.prompt.relation is None else float(shown.read.extra > 0)


METRICS.add("extra", ExtraObjects())
