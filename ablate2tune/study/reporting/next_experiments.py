"""The experiments that a study would run next, from what it left open."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ablate2tune.study.experiment import Experiment
from ablate2tune.study.reporting.summary import HELPS, HURTS, NEUTRAL, SINGLE
from ablate2tune.study.study_config import StudyConfig

MOST = 3
"""Experiments that are named."""
AFFORDABLE = 24
"""Seeds beyond which a difference is too small to be worth telling from none."""
Entries = Sequence[Mapping[str, Any]]
"""As `summarise` makes them."""


def next_experiments(
    entries: Entries, tests: Entries, experiment: Experiment, config: StudyConfig
) -> list[str]:
    """What to run next, one line each, the most telling first."""
    lines = [
        *_other_rule(tests, experiment),
        *_more_seeds(entries, config),
        *_larger_budget(entries, experiment, config),
        *_beyond_the_edge(entries, experiment, config),
        *_decided_by_seeds(entries),
        *_together(entries, config),
    ]
    return lines[:MOST]


def _other_rule(tests: Entries, experiment: Experiment) -> list[str]:
    lost = [
        str(test["budget"])
        for test in tests
        if (test["difference"]["value"] > 0) != experiment.higher_is_better
    ]
    if not lost:
        return []
    return [
        f"another rule at {', '.join(dict.fromkeys(lost))} modules, where random sets do as well "
        "as the guided ones: an arm with another rank_by, or a larger localize.budget"
    ]


def _more_seeds(entries: Entries, config: StudyConfig) -> list[str]:
    if not any(entry["label"] == SINGLE for entry in entries):
        return []
    last = max(config.seeds)
    more = [*config.seeds, last + 1, last + 2]
    return [f"study.seeds={more}: one seed cannot tell a difference from chance"]


def _larger_budget(entries: Entries, experiment: Experiment, config: StudyConfig) -> list[str]:
    guided = {
        entry["budget"]: entry[experiment.figure]["value"]
        for entry in entries
        if entry["arm"] == config.guided_arm and entry["budget"] and experiment.figure in entry
        if not entry["axis"]
    }
    pick = max if experiment.higher_is_better else min
    if len(guided) < 2 or pick(guided, key=lambda budget: guided[budget]) != max(guided):
        return []
    most = max(guided)
    return [f"study.budgets=[{most}, {2 * most}]: the guided arm still gains at {most} modules"]


def _beyond_the_edge(entries: Entries, experiment: Experiment, config: StudyConfig) -> list[str]:
    lines, pick = [], max if experiment.higher_is_better else min
    for key in config.axes:
        tried = [e for e in entries if list(e["axis"]) == [key] and experiment.figure in e]
        values = [entry["axis"][key] for entry in tried]
        if not tried or not all(type(value) in (int, float) for value in values):
            continue
        best = pick(tried, key=lambda entry: entry[experiment.figure]["value"])
        value = best["axis"][key]
        if best["label"] == HELPS and value in (min(values), max(values)):
            way = "above" if value == max(values) else "below"
            lines.append(f"{key} {way} {value}: its best value lies at the edge of those tried")
    return lines


def _decided_by_seeds(entries: Entries) -> list[str]:
    """How many seeds would decide the largest difference that is neutral now."""
    undecided = [e for e in entries if e["label"] == NEUTRAL and e["difference"]["value"]]
    if not undecided:
        return []
    entry = max(undecided, key=lambda e: abs(e["difference"]["value"]))
    gap = entry["difference"]
    # An interval's reach falls with the root of the number of seeds.
    seeds = math.ceil(gap["n"] * ((gap["value"] - gap["low"]) / gap["value"]) ** 2)
    if not gap["n"] < seeds <= AFFORDABLE:
        return []
    return [f"{seeds} seeds of {entry['setting']} and of {entry['against']}, to tell them apart"]


def _together(entries: Entries, config: StudyConfig) -> list[str]:
    """Two axes that both matter and were not changed together."""
    told = [e for e in entries if len(e["axis"]) == 1 and e["label"] in (HELPS, HURTS)]
    keys = list(dict.fromkeys(next(iter(e["axis"])) for e in told))[:2]
    if len(keys) < 2 or any(set(keys) <= set(crossed) for crossed in config.crossed):
        return []
    return [f"study.cross=[{', '.join(keys)}]: both matter, and may depend on each other"]
