"""A study as a table for an 80-column terminal, and the lines below it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from ablate2tune.study.experiment import Experiment
from ablate2tune.study.reporting.summary import HELPS, HURTS, NEUTRAL, SINGLE
from ablate2tune.study.running import DONE

WIDEST = 24
"""Characters of a setting's name."""
LABELS = {SINGLE: "1 seed"}
JUDGED = ("relation_given_objects", "direction_given_kind", "spatial", "objects", "forgetting")
"""Figures of `compare` that are told of finalists."""


def study_table(
    study: Mapping[str, Any], costs: Mapping[str, Mapping[str, Any]], experiment: Experiment
) -> Table:
    """One line per setting.

    Args:
        study: the contents of study.json.
        costs: those of costs.json, by cell.
        experiment: says what the figures are.
    """
    seeds, share = len(study["seeds"]), study["confidence"]
    table = Table(
        title=f"\n{experiment.title}, {share:.0%} intervals over {seeds} seed{'s' * (seeds > 1)}",
        title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0), pad_edge=False,
        show_edge=False,
    )  # fmt: skip
    table.add_column("setting", max_width=WIDEST)
    heads = ["params", experiment.figure, *experiment.columns.values(), "s/step", "gain"]
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("")
    if base := study["untouched"]:
        rest = [""] * (len(heads) - 2)
        table.add_row("untouched", "0", number(base[experiment.figure]), *rest, "")
    for entry in _shown(study):
        gap = entry.get("difference")
        seconds = [
            costs[row["key"]]["seconds_per_step"]
            for row in study["cells"]
            if row["setting"] == entry["setting"] and row["status"] == DONE
        ]
        table.add_row(
            entry["setting"],
            _count(entry.get("parameters")),
            _interval(entry.get(experiment.figure)),
            *(number((entry.get(name) or {}).get("value")) for name in experiment.columns),
            number(sum(seconds) / len(seconds) if seconds else None, 2),
            number(gap["value"], sign=True) if gap else "-",
            LABELS.get(entry["label"], entry["label"]) if seconds else _why(entry),
        )
    return table


def lines(study: Mapping[str, Any], experiment: Experiment) -> Iterator[str]:
    """What the table does not say: tests against chance, cells without a figure, what is next."""
    yield (
        "gain: over the random sets of the same budget; of settings without a budget, over the "
        "guided arm at its largest; of changed keys, over what they depart from"
    )
    for label in (HELPS, NEUTRAL, HURTS):
        names = [entry["setting"] for entry in _shown(study) if entry["label"] == label]
        if names:
            yield f"{label}: {'; '.join(names)}"
    yield from _beside(study, experiment)
    for test in study["tests"]:
        gap = test["difference"]
        bounds = "" if gap["low"] is None else f" [{number(gap['low'])}, {number(gap['high'])}]"
        yield (
            f"{test['guided']} against {test['draws']} sets of {test['chance']}, {test['budget']} "
            f"modules, {test['seeds']} seed{'s' * (test['seeds'] > 1)}: "
            f"{number(gap['value'], sign=True)}{bounds}, p = {_p(test['p'])}; the best set of each "
            f"seed {number(test['best'])}, {test['guided']} {number(test['guided_mean'])}"
        )
    for setting, figures in study["finalists"].items():
        told = ", ".join(f"{key} {100 * figures[key]:.0f}" for key in JUDGED if key in figures)
        yield f"pictures of {setting}, % of those judged: {told}"
    for row in _first_of_each(study["cells"]):
        yield f"{row['setting']}, seed {row['seed']}: {row['status']}, {row['message']}"
    yield from (f"next: {line}" for line in study["next"])


def _shown(study: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The settings but for further values of a grid, which are told at their best one."""
    return [entry for entry in study["settings"] if not entry["on_grid"]]


def _beside(study: Mapping[str, Any], experiment: Experiment) -> Iterator[str]:
    """At the best of a grid, together, against size, and what is not as sizes would have it."""
    for entry in _shown(study):
        if tuned := entry.get("tuned"):
            edge = ", the edge of the grid" * tuned["edge"]
            yield (
                f"{entry['setting']} at its best {tuned['key']}, {tuned['value']:g}{edge}: "
                f"{_interval(tuned[experiment.figure])}{_told(tuned.get('difference'))}"
            )
    for found in study["interactions"]:
        yield f"together, {found['setting']}: {_told(found['beyond_the_sum'])[2:]} beyond the sum"
    if law := study["law"]:
        yield (
            f"{experiment.title} falls as {str(experiment.size).replace('_', ' ')} ^ -a, a = "
            f"{_interval(law['exponent'])}, over {law['sizes']} sizes (a floor below which it "
            "cannot fall is not told from none by so few)"
        )
    yield from (f"surprise: {line}" for line in study["surprises"])
    pick = max if experiment.higher_is_better else min
    figured = [entry for entry in study["settings"] if experiment.figure in entry]
    if len(figured) > 1 and study["guided"] is None:
        best = pick(figured, key=lambda entry: entry[experiment.figure]["value"])
        base = next((entry for entry in figured if not entry["axis"]), best)
        yield (
            f"best: {best['setting']}, {_interval(best[experiment.figure])}; {base['setting']} "
            f"{_interval(base[experiment.figure])}"
        )


def _told(difference: Mapping[str, Any] | None) -> str:
    if difference is None:
        return ""
    if difference["low"] is None:
        return f", {number(difference['value'], sign=True)} (1 seed)"
    ends = f"[{number(difference['low'])}, {number(difference['high'])}]"
    p = _p(difference.get("p_corrected"))
    return f", {number(difference['value'], sign=True)} {ends}, p = {p}"


def number(value: float | None, digits: int = 3, sign: bool = False) -> str:
    """A figure with few digits: ".072"; more of them where they would all be zeros."""
    if value is None:
        return "-"
    if value and abs(value) < 10**-digits:
        return f"{value:{'+' if sign else ''}.0e}"
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text


def _interval(figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return "-"
    if figure["low"] is None:
        return number(figure["value"])
    return f"{number(figure['value'])} [{number(figure['low'])}, {number(figure['high'])}]"


def _count(figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return "-"
    count = figure["value"]
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:.0f}"


def _why(entry: Mapping[str, Any]) -> str:
    """What became of a setting of which no cell gave a figure."""
    return "/".join(entry["statuses"])


def _p(p: float | None) -> str:
    return "-" if p is None else f"{p:.2g}"


def _first_of_each(cells: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The first cell of each setting and kind of end that gave no figure."""
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for row in cells:
        if row["status"] != DONE:
            found.setdefault((row["setting"], row["status"]), row)
    return list(found.values())
