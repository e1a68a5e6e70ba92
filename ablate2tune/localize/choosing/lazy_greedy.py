"""Greedy choice of a set by what each member adds, with few looks at what a set is worth.

Where two members do the same job, the second adds nothing. As long as what a member adds can only
shrink while the set grows, the last known figure bounds it from above, and only those need a new
look whose old figure leads (Minoux 1978, "Accelerated greedy algorithms for maximizing submodular
set functions").
"""

from collections.abc import Callable, Mapping, Sequence

LOOKS = 6
"""Members that are looked at again for one place, at most: where what they add does not shrink, or
is mostly noise, all would be."""


def lazy_greedy(
    alone: Mapping[str, float], worth: Callable[[Sequence[str]], float], count: int
) -> list[str]:
    """So many members, in the order in which they were chosen.

    >>> jobs = {"a": {1, 2, 3}, "b": {1, 2}, "c": {4}, "d": {1, 2, 3}}
    >>> done = lambda chosen: len(set().union(*(jobs[one] for one in chosen)))
    >>> lazy_greedy({name: len(job) for name, job in jobs.items()}, done, 3)
    ['a', 'c', 'b']

    Args:
        alone: what each member is worth alone; equal ones are taken in this order.
        worth: what a set is worth.
        count: how many are wanted, if there are as many.
    """
    chosen: list[str] = []
    adds, total = dict(alone), 0.0
    while adds and len(chosen) < count:
        looked_at: set[str] = set()
        best = max(adds, key=adds.__getitem__)
        while chosen and best not in looked_at and len(looked_at) < LOOKS:
            looked_at.add(best)
            adds[best] = worth([*chosen, best]) - total
            best = max(adds, key=adds.__getitem__)
        if chosen and best not in looked_at:
            best = max(looked_at, key=adds.__getitem__)
        chosen.append(best)
        total += adds.pop(best)
    return chosen
