"""Pictures in the prompt's relation without a duplicate or any other object."""

from ablate2tune.compare.metrics.metric import METRICS, Metric
from ablate2tune.compare.shown import Shown


class NothingElse(Metric):
    """Pictures in the prompt's relation without a duplicate or any other object."""

    title = "  and nothing else"
    place = 2

    def value(self, shown: Shown, reference: Shown) -> float | None:
        """1 or 0; None without a relation."""
        if shown.prompt.relation is None:
            return None
        return float(bool(shown.read.spatial) and shown.read.extra == 0)


METRICS.add("spatial_strict", NothingElse())
