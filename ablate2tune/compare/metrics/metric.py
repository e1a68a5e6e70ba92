"""What a metric is: a number for each picture, whose mean over the pictures is the figure."""

from collections.abc import Callable
from dataclasses import dataclass

from ablate2tune.compare.shown import Shown
from ablate2tune.registry import Registry


@dataclass(frozen=True)
class Metric:
    """A figure of an arm. One file each, which registers it under the figure's key.

    Intervals, differences between arms and the rows of the tables follow from what is declared.
    """

    title: str
    """The figure in the terminal's words, 22 characters at most."""
    value: Callable[[Shown, Shown], float | None]
    """A picture's number, from it and the reference's picture of the same prompt and seed: in
    [0, 1], as figures are shown in percent; None: not counted."""
    place: float = 100
    """Figures stand in the order of their places, then of their keys."""
    judged: bool = True
    """Whether it needs verdicts; it is left out where no judge has read the pictures."""
    of_two: bool = False
    """Whether it compares an arm's picture with the reference's; the reference then has none."""
    by_relation: bool = False
    """Whether it is also given relation by relation."""


METRICS: Registry[Metric] = Registry("metric", "ablate2tune.compare.metrics")


def metrics(judged: bool) -> dict[str, Metric]:
    """All metrics that can be computed, by key, in the order in which they are shown."""
    found = {key: METRICS[key] for key in METRICS if judged or not METRICS[key].judged}
    return dict(sorted(found.items(), key=lambda item: (item[1].place, item[0])))
