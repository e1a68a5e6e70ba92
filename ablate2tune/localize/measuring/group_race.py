"""The race over contrast groups: what it costs, what it may look at, when it ends."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.measuring.racing import race
from ablate2tune.localize.ranking.decided import places_by_impact
from ablate2tune.localize.ranking.ranking import Analysis
from ablate2tune.statistics.top_set import Places


def race_over_groups(
    analysis: Analysis,
    sizes: Mapping[Condition, int],
    wanted: int,
    budget: float,
    groups: Sequence[str],
    order: Sequence[str],
    cost: Callable[[Condition, int], float],
    shared_cost: Callable[[int], float],
    measure: Callable[[Sequence[Condition], Sequence[str]], None],
) -> float:
    """Race conditions until those that hold `wanted` modules are told from the rest.

    Args:
        analysis: statistics of the rows, those that are still to come included.
        sizes: the conditions, and how many modules each holds.
        wanted: how many modules the best must hold; 0 where nothing is to be settled.
        budget: what may be spent, in the probe's unit.
        groups: the contrast group of each example.
        order: of the groups, each once.
        cost: of a condition on that many examples.
        shared_cost: of a run on that many examples, beside its conditions' own.
        measure: measures conditions on some groups.

    Returns:
        What was spent, also where the rows were there already.
    """
    per_group = len(groups) / len(order)
    place = {group: i for i, group in enumerate(order)}
    of_example, spent = np.array([place[group] for group in groups]), 0.0

    def run(conditions: Sequence[Condition], places: range) -> None:
        nonlocal spent
        examples = per_group * len(places)
        spent += shared_cost(1) * examples + sum(cost(c, 1) * examples for c in conditions)
        measure(conditions, [order[place] for place in places])

    def standing(measured: Mapping[Condition, int]) -> Places:
        counted = {condition: of_example < count for condition, count in measured.items()}
        return places_by_impact(analysis, counted, [sizes[c] for c in counted], wanted)

    race(
        list(sizes),
        len(order),
        budget,
        lambda condition, groups: cost(condition, 1) * per_group * groups,
        run,
        standing if wanted else None,
        lambda groups: shared_cost(1) * per_group * groups,
    )
    return spent
