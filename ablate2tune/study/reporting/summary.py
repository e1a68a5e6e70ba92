"""Settings over their seeds: intervals, differences from a reference, and what these mean.

A setting's figure in a seed is its mean over the draws; seeds are the blocks of every interval and
test, so that what differs between seeds alone does not count.
"""

from collections.abc import Container, Mapping, Sequence
from typing import Any

from ablate2tune.statistics.blocks import block_mean, exchange_p
from ablate2tune.statistics.resampling import corrected
from ablate2tune.study.experiment import Experiment
from ablate2tune.study.running import DONE
from ablate2tune.study.study_config import StudyConfig

Row = Mapping[str, Any]
"""A cell with its figures, as in study.json."""
HELPS, NEUTRAL, HURTS, SINGLE, OPEN = "helps", "neutral", "hurts", "single seed", "-"
ALPHA = 0.05
"""Of the corrected p under which a difference is told from none."""
NO_FIGURES = ("seed", "draw", "budget")
"""Numbers of a row that say which cell it is."""


def on_grid(axis: Mapping[str, Any], config: StudyConfig) -> bool:
    """Whether a setting is another one at a further value of the grid."""
    return config.grid in axis and len(axis) > 1


def by_seed(rows: Sequence[Row], figure: str, part: str | None = None) -> dict[int, float]:
    """A figure in each seed, as its mean over the draws that ended well.

    Args:
        rows: of one setting.
        figure: a number of the rows, or a mapping to numbers.
        part: which of the mapping's.
    """
    held: dict[int, list[float]] = {}
    for row in rows:
        if row["status"] == DONE and figure in row:
            value = row[figure] if part is None else row[figure][part]
            held.setdefault(row["seed"], []).append(value)
    return {seed: sum(values) / len(values) for seed, values in held.items()}


def draws_of(rows: Sequence[Row], figure: str, seeds: Container[int]) -> dict[int, list[float]]:
    """A figure of each draw that ended well, by those seeds that are asked for."""
    held: dict[int, list[float]] = {}
    for row in rows:
        if row["status"] == DONE and row["seed"] in seeds and figure in row:
            held.setdefault(row["seed"], []).append(row[figure])
    return held


def summarise(
    rows: Sequence[Row], experiment: Experiment, config: StudyConfig, seed: int = 0
) -> list[dict[str, Any]]:
    """One entry per setting: its figures with intervals, its difference from its reference.

    The reference of an arm is the chance arm at the same budget; of an arm without a budget, the
    guided one at the largest; of a changed key, the setting from which it departs. Labels are by
    the p of the paired differences, corrected over all of the study (`resampling.corrected`): by
    `exchange_p` where one run of a seed is compared with several random sets, and by Student's t
    otherwise (a mean over sets is no set, and one set a seed leaves too few choices).
    Settings that are others at a further value of the grid have no reference of their own.
    """
    settings: dict[str, list[Row]] = {}
    for row in rows:
        settings.setdefault(row["setting"], []).append(row)
    entries = [_entry(held, experiment, config) for held in settings.values()]
    told, several = [], {name for name, arm in config.arms.items() if arm.draws > 1}
    for entry in entries:
        reference = _reference(entry, entries, config)
        if reference is None or entry["on_grid"]:
            continue
        ours, theirs = (
            by_seed(settings[one["setting"]], experiment.figure) for one in (entry, reference)
        )
        gaps = [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
        if not gaps:
            continue
        entry["against"] = reference["setting"]
        entry["difference"] = block_mean(gaps, config.confidence)._asdict()
        if reference["arm"] in several and entry["arm"] not in several:
            sets = draws_of(settings[reference["setting"]], experiment.figure, ours)
            entry["difference"]["p"] = exchange_p([ours[s] for s in sets], [*sets.values()], seed)
        entry["label"] = SINGLE if len(gaps) < 2 else NEUTRAL
        told += [entry] if len(gaps) > 1 else []
    adjusted = corrected([entry["difference"]["p"] for entry in told])
    for entry, p in zip(told, adjusted, strict=True):
        entry["difference"]["p_corrected"] = p
        if p < ALPHA:
            better = (entry["difference"]["value"] > 0) == experiment.higher_is_better
            entry["label"] = HELPS if better else HURTS
    return entries


def chance_tests(
    rows: Sequence[Row], experiment: Experiment, config: StudyConfig, seed: int
) -> list[dict[str, Any]]:
    """The guided arm against each arm of random sets, budget by budget: all draws, seeds as blocks.

    `p` is that of `exchange_p`; `best` is the mean over the seeds of each seed's best random set.
    """
    tests, pick = [], max if experiment.higher_is_better else min
    drawn = {name for name, arm in config.arms.items() if arm.targets == "random"}
    pairs = [(row["arm"], row["budget"]) for row in rows if row["arm"] in drawn and not row["axis"]]
    for name, budget in dict.fromkeys(pairs):
        ours, theirs = (
            [row for row in rows if (row["arm"], row["budget"], row["axis"]) == (arm, budget, {})]
            for arm in (config.guided_arm, name)
        )
        guided = by_seed(ours, experiment.figure)
        controls = draws_of(theirs, experiment.figure, guided)
        if not controls:
            continue
        figures, sets = [guided[s] for s in controls], list(controls.values())
        means = [sum(values) / len(values) for values in sets]
        gaps = [figure - mean for figure, mean in zip(figures, means, strict=True)]
        tests.append(
            {
                "guided": config.guided_arm,
                "chance": name,
                "budget": budget,
                "seeds": len(sets),
                "draws": sum(map(len, sets)),
                "guided_mean": sum(figures) / len(sets),
                "chance_mean": sum(means) / len(sets),
                "best": sum(map(pick, sets)) / len(sets),
                "difference": block_mean(gaps, config.confidence)._asdict(),
                "p": exchange_p(figures, sets, seed),
            }
        )
    return tests


def _entry(rows: Sequence[Row], experiment: Experiment, config: StudyConfig) -> dict[str, Any]:
    done = [row for row in rows if row["status"] == DONE]
    statuses = dict.fromkeys(row["status"] for row in rows)

    def interval(figure: str, part: str | None = None) -> dict[str, Any]:
        mean = block_mean(list(by_seed(done, figure, part).values()), config.confidence)
        return {"value": mean.value, "low": mean.low, "high": mean.high, "n": mean.n}

    entry: dict[str, Any] = {
        **{key: rows[0][key] for key in ("setting", "arm", "budget", "axis")},
        "on_grid": on_grid(rows[0]["axis"], config),
        "seeds": len({row["seed"] for row in done}),
        "statuses": {name: sum(row["status"] == name for row in rows) for name in statuses},
        "label": OPEN,
    }
    if done:
        for key, value in done[0].items():
            if key not in NO_FIGURES and type(value) in (int, float):
                entry[key] = interval(key)
            elif key == experiment.parts:
                entry[key] = {part: interval(key, part) for part in value}
    return entry


def _reference(
    entry: Mapping[str, Any], entries: Sequence[dict[str, Any]], config: StudyConfig
) -> dict[str, Any] | None:
    """The setting that an entry is compared with; None for what has none, or is one itself."""

    def find(arm: str | None, budget: int | None) -> dict[str, Any] | None:
        sought = arm, budget, {}
        return next((e for e in entries if (e["arm"], e["budget"], e["axis"]) == sought), None)

    if entry["axis"]:
        return find(entry["arm"], entry["budget"])
    if entry["arm"] in (None, config.chance_arm):
        return None
    if entry["budget"] is not None:
        return find(config.chance_arm, entry["budget"])
    sized = [e for e in entries if e["arm"] == config.guided_arm and e["budget"] and not e["axis"]]
    return max(sized, key=lambda e: e["budget"], default=None)
