"""A minimal sufficient set: few components that keep the margin while the others are ablated.

Chosen on one half of the contrast groups and judged on the other, since the best of many sets
looks better than it is on the groups that chose it.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ablate2tune.errors import UserError
from ablate2tune.localize.findings.finding import FINDINGS, Finding, Kind, Ranked
from ablate2tune.localize.findings.follow_up import FollowUp
from ablate2tune.localize.ranking.figures import bounds_of, new_figure, write_figure

SCHEMA = "ablate2tune/sufficient/1"


def choose(
    ranked: Sequence[str], kept: Callable[[Sequence[str]], float], wanted: float
) -> tuple[list[str], list[str]]:
    """Greedy over the ranking, then backward pruning.

    Components join, best first, until the share that they keep reaches `wanted`; then each leaves
    again, the least important first, unless the share falls below `wanted` without it.

    >>> share = {"a": 0.5, "b": 0.1, "c": 0.4}
    >>> choose("abc", lambda chosen: sum(share[x] for x in chosen), 0.9)
    (['a', 'b', 'c'], ['a', 'c'])

    Args:
        ranked: components, best first.
        kept: the share of the margin that a set keeps; 1 for all of them.
        wanted: the share to reach.

    Returns:
        The set after the greedy pass, and after pruning, both best first.
    """
    greedy: list[str] = []
    for one in ranked:
        if kept(greedy) >= wanted:
            break
        greedy.append(one)
    pruned = list(greedy)
    for one in reversed(greedy):
        without = [other for other in pruned if other != one]
        if kept(without) >= wanted:
            pruned = without
    return greedy, pruned


def find_sufficient(
    follow_up: FollowUp, candidates: Sequence[str], level: str, wanted: float
) -> Finding:
    """The smallest set found that keeps a share of the target margin, ablating all others.

    The candidates are ranked again, by their single impacts on the choosing half alone.

    Args:
        follow_up: measures the conditions.
        candidates: components of one level; parts of the model outside them always stay.
        level: their level.
        wanted: share of the baseline's margin to keep, in (0, 1].

    Raises:
        UserError: there are no candidates, or no margin to keep on one half.
    """
    if not candidates:
        raise UserError(
            f"no {level}s were ranked", where="localize.joint.sufficient", mend="raise top_blocks"
        )
    halves = {"choosing": follow_up.groups[::2], "judging": follow_up.groups[1::2]}
    single = {one: follow_up.joint([one], level) for one in candidates}
    follow_up.measure(single.values(), halves["choosing"])
    base = follow_up.margins(follow_up.joint([], level)).target
    for name, groups in halves.items():
        if base[follow_up.mask(groups)].mean() <= 0:
            raise UserError(
                f"the baseline has no target margin on the {name} half of the groups",
                where="localize.joint.sufficient",
                mend="raise localize.groups",
            )
    choosing = follow_up.mask(halves["choosing"])
    impact = {one: _mean(follow_up.impacts(c).target[choosing]) for one, c in single.items()}
    ranked = sorted(candidates, key=lambda one: (-impact[one], one))

    def only(chosen: Iterable[str]):
        return follow_up.joint(set(candidates) - set(chosen), level)

    steps: list[dict[str, Any]] = []

    def kept(chosen: Sequence[str]) -> float:
        follow_up.measure([only(chosen)], halves["choosing"])
        share = follow_up.share(follow_up.margins(only(chosen)).target, base, halves["choosing"])
        steps.append({"kept": list(chosen), "share": share})
        return -np.inf if share is None else share["value"]

    greedy, chosen = choose(ranked, kept, wanted)
    follow_up.measure([only(chosen), only(())], halves["judging"])
    judged, nothing = (
        follow_up.share(follow_up.margins(only(x)).target, base, halves["judging"])
        for x in (chosen, ())
    )
    data = {
        "schema": SCHEMA,
        "figure": "share of the target margin kept while all other candidates are ablated",
        "confidence": follow_up.confidence,
        "level": level,
        "wanted": wanted,
        "candidates": ranked,
        "steps": steps,
        "greedy": greedy,
        "set": chosen,
        "choosing": {"groups": halves["choosing"], "share": _share_of(steps, chosen)},
        "judging": {"groups": halves["judging"], "share": judged, "share_of_none": nothing},
    }
    told = "not finite" if judged is None else f"{100 * judged['value']:.0f} %"
    bounds = "" if judged is None else f" [{100 * judged['low']:.0f}, {100 * judged['high']:.0f}]"
    return Finding(
        "sufficient",
        data,
        draw_sufficient,
        f"sufficient set: {len(chosen)} of {len(ranked)} {level}s keep {told}{bounds} of the "
        f"margin on groups that did not choose them ({100 * wanted:.0f} % wanted)",
    )


def _mean(values: np.ndarray) -> float:
    """The mean; a component with a loss that is not finite counts as the most important."""
    return float(values.mean()) if np.isfinite(values).all() else np.inf


def _share_of(steps: Sequence[dict[str, Any]], chosen: Sequence[str]) -> Any:
    found = (step["share"] for step in steps if set(step["kept"]) == set(chosen))
    return next(found, None)


def draw_sufficient(data: dict[str, Any], path: Path) -> None:
    """The share kept by each set that was tried, over its size, and the chosen set's on both."""
    figure, axes = new_figure(8, 4.5)
    steps = data["steps"]
    sizes = [len(step["kept"]) for step in steps]
    value, low, high = bounds_of([step["share"] for step in steps])
    axes.vlines(sizes, low, high, color="tab:blue", alpha=0.25)
    axes.plot(sizes, value, "o", color="tab:blue", markersize=4, label="tried, choosing half")
    judged, lower, upper = bounds_of([data["judging"]["share"]])
    axes.vlines([len(data["set"])], lower, upper, color="tab:red")
    axes.plot([len(data["set"])], judged, "D", color="tab:red", label="chosen, judging half")
    axes.axhline(data["wanted"], color="0.5", linestyle="--", linewidth=0.8)
    axes.set_xlabel(f"{data['level']}s kept, of {len(data['candidates'])}")
    axes.set_ylabel("share of the baseline's target margin")
    axes.legend(fontsize=8)
    write_figure(figure, path)


def _find(ranked: Ranked) -> Finding:
    joint = ranked.config.joint
    assert joint.sufficient is not None, "it is wanted"
    return find_sufficient(
        ranked.follow_up, ranked.best(joint.level), joint.level, joint.sufficient
    )


FINDINGS.add("sufficient", Kind(lambda ranked: ranked.config.joint.sufficient is not None, _find))
