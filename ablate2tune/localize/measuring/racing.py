"""Racing: spend draws where the ranking is still undecided.

Every component is measured on a first share of the contrast groups. Then those whose place among
the best is open get more of them, share after share, until it is settled or the budget is spent
(successive rejects, Audibert et al. 2010; Hoeffding races, Maron & Moore 1994, with bootstrap
intervals). The groups come in an order in which every prefix spreads evenly over the baseline's
margins, since what a component can take away depends on what is there.

Every decision follows from the seed and the rows of the rounds before it alone, not from what else
lies on the disk: a race that was killed at any row goes on as if it had not been.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.seeding import numpy_generator

GOLDEN = (5**0.5 - 1) / 2
TOP = 8
"""Places at the top of each level that a race settles: as many components as a person reads, and
most adapters take."""
MIN_GROUPS = 8
"""Contrast groups of the first share, where there are as many."""
BUDGET, BUDGET_SCREENED = 0.09, 0.06
"""Default budgets as fractions of the exhaustive sweep's block evaluations: gradients stand in for
draws, so that with them fewer are needed."""
FIRST_SHARE = 0.7
"""Part of the budget that the first share is sized for; the rest goes to the undecided."""


class Standing(NamedTuple):
    """A component's figure with its interval."""

    value: float
    low: float
    high: float


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
    """Groups of the first share: as many as its part of the budget pays for.

    Args:
        groups: how many there are.
        cost_per_group: block evaluations of all components on one group.
        budget: block evaluations to spend in all.
    """
    paid = int(FIRST_SHARE * budget / max(cost_per_group, 1e-9))
    return min(groups, max(MIN_GROUPS, paid))


def race(
    conditions: Sequence[Condition],
    groups: int,
    top: int,
    budget: float,
    cost: Callable[[Condition, int], float],
    run: Callable[[Sequence[Condition], range], None],
    standing: Callable[[Condition, int], Standing],
    shared_cost: Callable[[int], float] = lambda _: 0.0,
) -> dict[Condition, int]:
    """Measure conditions until the best `top` of them are told from the rest, or money is out.

    Args:
        conditions: what races.
        groups: contrast groups there are.
        top: places at the top that the race settles.
        budget: block evaluations to spend; the first share is run even where it exceeds them.
        cost: block evaluations of a condition on that many groups.
        run: measures conditions on groups by their places in the order.
        standing: a condition's figure on the first so many groups of the order.
        shared_cost: block evaluations of a run on that many groups beside its conditions' own.

    Returns:
        On how many groups each condition was measured.
    """
    conditions = list(conditions)
    if not conditions:
        return {}
    share = first_share(groups, sum(cost(c, 1) for c in conditions), budget)
    run(conditions, range(share))
    measured = dict.fromkeys(conditions, share)
    budget -= shared_cost(share) + sum(cost(c, share) for c in conditions)
    while share < groups:
        more = min(2 * share, groups) - share
        budget -= shared_cost(more)
        payable: list[Condition] = []
        for condition in worth_more({c: standing(c, measured[c]) for c in conditions}, top):
            if measured[condition] == share and cost(condition, more) <= budget:
                budget -= cost(condition, more)
                payable.append(condition)
        if not payable:
            break
        run(payable, range(share, share + more))
        share += more
        measured |= dict.fromkeys(payable, share)
    return measured


def worth_more(standings: dict[Condition, Standing], top: int) -> list[Condition]:
    """Conditions that are not clearly out of the best `top`: the doubtful ones first.

    A condition is clearly out when at least `top` others lie wholly above it, and clearly in when
    all but `top` - 1 of the others lie wholly below it; these come last, the best first. A figure
    that is not finite is out.
    """
    standings = {c: s for c, s in standings.items() if np.isfinite(s).all()}
    if not standings:
        return []
    values = sorted((s.value for s in standings.values()), reverse=True)
    boundary = sum(values[top - 1 : top + 1]) / 2 if len(values) > top else values[-1]
    order: list[tuple[bool, float, Condition]] = []
    for condition, own in standings.items():
        others = [s for c, s in standings.items() if c != condition]
        if sum(s.low > own.high for s in others) >= top:
            continue
        settled = sum(s.high < own.low for s in others) >= len(standings) - top
        doubt = -own.value if settled else abs(own.value - boundary) / (own.high - own.low + 1e-300)
        order.append((settled, doubt, condition))
    order.sort(key=lambda entry: entry[:2])
    return [condition for _, _, condition in order]
