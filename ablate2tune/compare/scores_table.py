"""The scores as tables for an 80-column terminal."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ablate2tune.compare.metrics import METRICS
from ablate2tune.compare.scores import DRAWN, Scores
from ablate2tune.statistics.rates import Difference, Rate

BY_RELATION = {"kind_given_objects": "kind\n%", "direction_given_kind": "direc-\ntion %"}
"""Figures beside the counts of what was drawn, and the heads of their columns."""
HEADS = {"opposite": "oppo-\nsite", "other kind": "other\nkind", "missing": "object\nmissing"}
WIDEST = 14
"""Characters of an arm's name."""


def scores_table(scores: Scores) -> Group:
    """Each arm against the reference in percent with intervals, then what was drawn, by relation.

    The judge's own error comes last.
    """
    others = [arm for arm in scores.arms if arm != scores.reference] or [scores.reference]
    parts: list[Any] = [_figures(scores, arm) for arm in others]
    if scores.arms[scores.reference].drawn:
        parts.append(_relations(scores))
    if scores.judge:
        parts.append(Text(judge_line(scores.judge)))
    return Group(*parts)


def judge_line(judge: Mapping[str, Any]) -> str:
    """Two lines on the judge's own error."""
    known = judge["calibration"]

    def percent(key: str) -> str:
        value = known[key]["value"]
        return "-" if value is None else f"{100 * value:.1f} %"

    return (
        f"Judge, on {known['images']} rendered scenes: objects found {percent('object_recall')},\n"
        f"relation misread {percent('relation_error')}, wrong verdicts {percent('verdict_error')}."
    )


def _figures(scores: Scores, arm: str) -> Table:
    repeats = f"{scores.seeds} seed{'s' * (scores.seeds > 1)}"
    table = _table(
        f"{scores.prompts} prompts x {repeats}, % of images,\n"
        f"{scores.confidence:.0%} intervals over {scores.pairs} pairs of objects"
    )
    table.add_column("", no_wrap=True)
    for name in (scores.reference, arm, "difference", "p"):
        table.add_column(name[:WIDEST], justify="right", no_wrap=True)
    early, late = scores.arms[scores.reference].overall, scores.arms[arm].overall
    gap = scores.difference[arm].overall if arm in scores.difference else {}
    for key, figure in late.items():
        change = gap.get(key)
        table.add_row(
            METRICS[key].title if key in METRICS else key,
            _cell(early.get(key)),
            _cell(figure),
            _cell(change, sign="+"),
            _p(change.p if isinstance(change, Difference) else None),
        )
    return table


def _relations(scores: Scores) -> Table:
    """What was drawn where a relation was asked for, in every arm."""
    table = _table(
        "Images by what they show. kind: of those with both objects;\n"
        "direction, who stands where: of those of the right kind, chance is 50"
    )
    for name in ("asked for", "arm"):
        table.add_column(name, no_wrap=True)
    for name in DRAWN:
        table.add_column(HEADS.get(name, name), justify="right", no_wrap=True)
    for name in BY_RELATION.values():
        table.add_column(name, justify="right", no_wrap=True)
    for relation in scores.arms[scores.reference].drawn:
        for number, (arm, figures) in enumerate(scores.arms.items()):
            shares = (figures.per_relation[relation][key].value for key in BY_RELATION)
            table.add_row(
                relation if number == 0 else "",
                arm[:WIDEST],
                *(str(figures.drawn[relation][name]) for name in DRAWN),
                *("-" if value is None else f"{100 * value:.0f}" for value in shares),
            )
    return table


def _table(title: str) -> Table:
    return Table(
        title=f"\n{title}", title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0),
        pad_edge=False, show_edge=False,
    )  # fmt: skip


def _cell(figure: Rate | None, sign: str = "") -> str:
    if figure is None or figure.value is None or figure.low is None or figure.high is None:
        return "-"
    value, low, high = (100 * x for x in (figure.value, figure.low, figure.high))
    return f"{value:{sign}.0f} [{low:{sign}.0f}, {high:{sign}.0f}]"


def _p(p: float | None) -> str:
    if p is None:
        return "-"
    return "<.001" if p < 0.001 else f"{p:.3f}".removeprefix("0") if p < 1 else "1"
