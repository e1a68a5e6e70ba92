"""What settings say beside their own differences: at the best of a grid, together, against size."""

from collections.abc import Sequence
from typing import Any

from ablate2tune.statistics.blocks import block_mean
from ablate2tune.statistics.power_law import fit_power_law
from ablate2tune.statistics.resampling import corrected
from ablate2tune.study.experiment import Experiment
from ablate2tune.study.reporting.summary import HELPS, HURTS, Row, by_seed
from ablate2tune.study.study_config import StudyConfig

Entries = Sequence[dict[str, Any]]
"""As `summarise` makes them."""
LARGER = 1.25
"""Times the reference's size from which a setting counts as larger, and its inverse as smaller."""


def add_best_of_grid(
    entries: Entries, rows: Sequence[Row], experiment: Experiment, config: StudyConfig, own: Any
) -> None:
    """Give each setting `tuned`: its figure at its best value of the grid, beside that at its own.

    The best value has the best mean over the seeds. It is picked by the figures that are then
    told, which flatters every setting alike. `edge` is whether it lies at an end of the grid, so
    that a better one may lie beyond. Differences are from the baseline at its own best value. What
    diverged in a seed is no best.

    Args:
        entries: which are changed.
        rows: the cells.
        experiment: says what the figure is.
        config: names the grid.
        own: the recipe's value of its key.
    """
    if not config.grid:
        return
    families: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        rest = {key: value for key, value in entry["axis"].items() if key != config.grid}
        families.setdefault(str((entry["arm"], entry["budget"], rest)), []).append(entry)
    pick = max if experiment.higher_is_better else min
    found: list[dict[str, Any]] = []
    for family in families.values():
        figured = [entry for entry in family if entry["seeds"] == len(config.seeds)]
        first = next((entry for entry in family if config.grid not in entry["axis"]), None)
        if first is None or len(figured) < 2:
            continue
        values = [entry["axis"].get(config.grid, own) for entry in family]
        best = pick(figured, key=lambda entry: entry[experiment.figure]["value"])
        value = best["axis"].get(config.grid, own)
        first["tuned"] = {
            "key": config.grid,
            "value": value,
            "edge": value in (min(values), max(values)),
            "setting": best["setting"],
            experiment.figure: best[experiment.figure],
        }
        found.append(first)
    base = next((entry for entry in found if not entry["axis"]), None)
    told = []
    for entry in found:
        if base is None or entry is base:
            continue
        ours, theirs = (
            by_seed(_of(rows, one["tuned"]["setting"]), experiment.figure) for one in (entry, base)
        )
        gaps = [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
        if gaps:
            entry["tuned"]["difference"] = block_mean(gaps, config.confidence)._asdict()
            told += [entry["tuned"]["difference"]] if len(gaps) > 1 else []
    _correct(told)


def interactions(
    entries: Entries, rows: Sequence[Row], experiment: Experiment, config: StudyConfig
) -> list[dict[str, Any]]:
    """Of two keys that were changed together: what they do beyond the sum of what each does.

    Per seed L(both) - L(one) - L(other) + L(neither); the seeds are the blocks.
    """
    found, told = [], []
    by_axis = {str(sorted(e["axis"].items())): e for e in entries if experiment.figure in e}
    for entry in entries:
        if len(entry["axis"]) != 2 or entry["on_grid"]:
            continue
        one, other = ([item] for item in sorted(entry["axis"].items()))
        four = [by_axis.get(str(axis)) for axis in ([*one, *other], one, other, [])]
        if any(part is None for part in four):
            continue
        both, first, second, neither = (
            by_seed(_of(rows, part["setting"]), experiment.figure) for part in four if part
        )
        seeds = [seed for seed in both if seed in first and seed in second and seed in neither]
        if not seeds:
            continue
        gaps = [both[s] - first[s] - second[s] + neither[s] for s in seeds]
        difference = block_mean(gaps, config.confidence)._asdict()
        found.append({"setting": entry["setting"], "beyond_the_sum": difference})
        told += [difference] if len(gaps) > 1 else []
    _correct(told)
    return found


def size_law(
    rows: Sequence[Row], experiment: Experiment, config: StudyConfig
) -> dict[str, Any] | None:
    """The power law over the settings that change the experiment's keys of size alone."""
    if experiment.size is None:
        return None
    blocks: dict[int, dict[float, float]] = {}
    for row in rows:
        if set(row["axis"]) <= set(experiment.size_keys) and experiment.figure in row:
            blocks.setdefault(row["seed"], {})[row[experiment.size]] = row[experiment.figure]
    law = fit_power_law(list(blocks.values()), config.confidence)
    if law is None:
        return None
    return {"exponent": law.exponent._asdict(), "factor": law.factor, "sizes": law.sizes}


def surprises(entries: Entries, experiment: Experiment) -> list[str]:
    """Settings that are larger than their reference and hurt, or smaller and help."""
    if experiment.size is None:
        return []
    by_name = {entry["setting"]: entry for entry in entries}
    lines = []
    for entry in entries:
        base = by_name.get(entry.get("against", ""))
        if base is None:
            continue
        ratio = entry[experiment.size]["value"] / base[experiment.size]["value"]
        against = HURTS if ratio >= LARGER else HELPS if ratio <= 1 / LARGER else None
        if entry["label"] == against:
            size = f"{ratio:.2g} times the size of the {base['setting']}"
            lines.append(f"{entry['setting']}: {size}, and {against}")
    return lines


def _of(rows: Sequence[Row], setting: str) -> list[Row]:
    return [row for row in rows if row["setting"] == setting]


def _correct(differences: Sequence[dict[str, Any]]) -> None:
    for difference, p in zip(differences, corrected([d["p"] for d in differences]), strict=True):
        difference["p_corrected"] = p
