"""The scores as a table for an 80-column terminal."""

from rich.console import Group
from rich.table import Table
from rich.text import Text

from ablate2tune.compare.compare import Scores
from ablate2tune.statistics.rates import Difference, Rate

NAMES = {
    "spatial": "relation right",
    "spatial_strict": "  and nothing else",
    "relation_given_objects": "relation given objects",
    "objects": "objects right",
    "extra": "extra objects",
    "forgetting": "objects, no relation",
}
"""The figures in the terminal's words, in order."""


def scores_table(scores: Scores) -> Group:
    """Before, after and difference in percent with intervals, relations below, judge error last."""
    table = Table(
        title=f"{scores.prompts} prompts x {scores.seeds} seed{'s' * (scores.seeds > 1)}, "
        f"% of images, {scores.confidence:.0%} intervals",
        title_justify="left",
        expand=False,
    )
    table.add_column("", no_wrap=True)
    for name in ("before", "after", "difference", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    for key, name in NAMES.items():
        table.add_row(name, *_cells(*(getattr(f, key) for f in _arms(scores))))
    table.add_section()
    for relation in scores.before.per_relation:
        table.add_row(relation, *_cells(*(f.per_relation[relation] for f in _arms(scores))))
    return Group(table, Text(judge_line(scores)))


def judge_line(scores: Scores) -> str:
    """One line on the judge's own error."""
    judge = scores.judge["calibration"]

    def percent(key: str) -> str:
        value = judge[key]["value"]
        return "-" if value is None else f"{100 * value:.1f} %"

    return (
        f"Judge, on {judge['images']} rendered scenes: objects found {percent('object_recall')},\n"
        f"relation misread {percent('relation_error')}, wrong verdicts {percent('verdict_error')}."
    )


def _arms(scores: Scores) -> tuple:
    return scores.before, scores.after, scores.difference


def _cells(before: Rate, after: Rate, difference: Difference) -> list[str]:
    return [_cell(before), _cell(after), _cell(difference, sign="+"), _p(difference.p)]


def _cell(interval: Rate, sign: str = "") -> str:
    if interval.value is None or interval.low is None or interval.high is None:
        return "-"
    value, low, high = (100 * x for x in (interval.value, interval.low, interval.high))
    return f"{value:{sign}.0f} [{low:{sign}.0f}, {high:{sign}.0f}]"


def _p(p: float | None) -> str:
    if p is None:
        return "-"
    return "<.001" if p < 0.001 else f"{p:.3f}".removeprefix("0") if p < 1 else "1"
