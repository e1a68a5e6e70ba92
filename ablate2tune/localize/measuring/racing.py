"""Racing: spend draws where the ranking is still undecided.

Every component is measured on a first share of the contrast groups. Then those whose place among
the best is open get more of them, share after share, until it is settled or the budget is spent
(successive rejects, Audibert et al. 2010; Hoeffding races, Maron & Moore 1994, with paired t
tests). The groups come in an order in which every prefix spreads evenly over the baseline's
margins, since what a component can take away depends on what is there.

Every decision follows from the seed and the rows of the rounds before it alone, not from what else
lies on the disk: a race that was killed at any row goes on as if it had not been.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.seeding import numpy_generator
from ablate2tune.statistics.top_set import Places

GOLDEN = (5**0.5 - 1) / 2
TOP = 8
"""Places at the top of a level that a race settles where nothing says how many are wanted: as many
components as a person reads, and most adapters take."""
MIN_GROUPS = 16
"""Contrast groups of the first share, where there are as many: with fewer than 14 there are too few
sign patterns to tell one of 200 components from nothing (benchmarks/power.py)."""
BUDGET = 0.17
"""Default budget as a fraction of the exhaustive sweep's cost (benchmarks/power.py)."""
FIRST_SHARE = 0.7
"""Part of the budget that the first share is sized for; the rest goes to the undecided."""


def spread_order(groups: Sequence[str], margins: np.ndarray, seed: int) -> list[str]:
    """Groups in an order whose every prefix spreads evenly over the groups' mean margins.

    Args:
        groups: the group of each example.
        margins: the baseline's margin of each example, (n,).
        seed: of the order's start.
    """
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    means = np.bincount(index, weights=margins) / np.bincount(index)
    ranks = np.argsort(np.argsort(means, kind="stable"), kind="stable")
    start = numpy_generator(seed, "racing-order").random()
    # Multiples of the golden ratio modulo 1 are a low-discrepancy sequence.
    keys = (ranks * GOLDEN + start) % 1
    return [str(names[i]) for i in np.argsort(keys, kind="stable")]


def first_share(groups: int, cost_per_group: float, budget: float) -> int:
    """Groups of the first share: as many as the budget pays for.

    Args:
        groups: how many there are.
        cost_per_group: block evaluations of all components on one group.
        budget: block evaluations to spend on it.
    """
    paid = int(budget / max(cost_per_group, 1e-9))
    return min(groups, max(MIN_GROUPS, paid))


def race(
    conditions: Sequence[Condition],
    groups: int,
    budget: float,
    cost: Callable[[Condition, int], float],
    run: Callable[[Sequence[Condition], range], None],
    standing: Callable[[Mapping[Condition, int]], Places] | None,
    shared_cost: Callable[[int], float] = lambda _: 0.0,
) -> dict[Condition, int]:
    """Measure conditions until the best of them are told from the rest, or money is out.

    Args:
        conditions: what races.
        groups: contrast groups there are.
        budget: block evaluations to spend; the first share is run even where it exceeds them.
        cost: block evaluations of a condition on that many groups.
        run: measures conditions on groups by their places in the order.
        standing: what can be told of conditions, each measured on the first so many groups of the
            order; None where no place is to be settled: all is spent on the first share.
        shared_cost: block evaluations of a run on that many groups beside its conditions' own.

    Returns:
        On how many groups each condition was measured.
    """
    conditions = list(conditions)
    if not conditions:
        return {}
    at_once = budget if standing is None else FIRST_SHARE * budget
    share = first_share(groups, shared_cost(1) + sum(cost(c, 1) for c in conditions), at_once)
    run(conditions, range(share))
    measured = dict.fromkeys(conditions, share)
    budget -= shared_cost(share) + sum(cost(c, share) for c in conditions)
    while standing is not None and share < groups:
        more = min(2 * share, groups) - share
        budget -= shared_cost(more)
        payable: list[Condition] = []
        for condition in undecided(conditions, standing(measured)):
            if measured[condition] == share and cost(condition, more) <= budget:
                budget -= cost(condition, more)
                payable.append(condition)
        if not payable:
            break
        run(payable, range(share, share + more))
        share += more
        measured |= dict.fromkeys(payable, share)
    return measured


def undecided(conditions: Sequence[Condition], places: Places) -> list[Condition]:
    """Conditions whose place among the best is open, those nearest to the cut first."""
    order = np.argsort(places.doubt, kind="stable")
    return [conditions[i] for i in order if places.verdicts[i] == "open"]
