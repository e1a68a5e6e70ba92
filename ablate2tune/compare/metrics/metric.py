"""What a metric is: a number for each picture, whose mean over the pictures is the figure."""

from typing import ClassVar

from ablate2tune.compare.shown import Shown
from ablate2tune.registry import Registry


class Metric:
    """A figure of an arm. One file each, which registers an instance under the figure's key.

    Intervals, differences between arms and the rows of the tables follow from what is declared.
    """

    title: ClassVar[str]
    """The figure in the terminal's words, 22 characters at most."""
    place: ClassVar[float] = 100
    """Figures stand in the order of their places, then of their keys."""
    judged: ClassVar[bool] = True
    """Whether it needs verdicts; it is left out where no judge has read the pictures."""
    of_two: ClassVar[bool] = False
    """Whether it compares an arm's picture with the reference's; the reference then has none."""
    by_relation: ClassVar[bool] = False
    """Whether it is also given relation by relation."""

    def value(self, shown: Shown, reference: Shown) -> float | None:
        """The picture's number, in [0, 1] as figures are shown in percent; None: not counted.

        Args:
            shown: a picture of the arm.
            reference: the reference's picture of the same prompt and seed.
        """
        raise NotImplementedError


METRICS: Registry[Metric] = Registry("metric", "ablate2tune.compare.metrics")


def metrics(judged: bool) -> dict[str, Metric]:
    """All metrics that can be computed, by key, in the order in which they are shown."""
    found = {key: METRICS[key] for key in METRICS if judged or not METRICS[key].judged}
    return dict(sorted(found.items(), key=lambda item: (item[1].place, item[0])))
