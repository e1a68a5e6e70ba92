"""The scores as a table: what stands in it, in 80 columns."""

import io

from rich.console import Console

from ablate2tune.compare.scores import Figures, Scores
from ablate2tune.compare.scores_table import scores_table
from ablate2tune.statistics.rates import Difference, Rate

FIGURES = (
    "spatial", "spatial_strict", "relation_given_objects", "kind_given_objects",
    "direction_given_kind", "objects", "extra", "forgetting",
)  # fmt: skip


def scores(names: tuple[str, ...], first: Rate, second: Rate, gap: Difference) -> Scores:
    counts = {"right": 15, "opposite": 15, "other kind": 12, "unclear": 3, "missing": 5}

    def figures(value: Rate, drawn: bool = True) -> Figures:
        keys = ("spatial", "kind_given_objects", "direction_given_kind")
        per_relation = {r: dict.fromkeys(keys, value) for r in ("in front of", "underneath")}
        told = dict.fromkeys(per_relation, counts) if drawn else {}
        return Figures(dict.fromkeys(FIGURES, value), per_relation, told)

    empty = {"value": None, "low": None, "high": None, "n": 0}
    calibration = {
        "images": 300,
        "object_recall": {"value": 0.987, "low": 0.9, "high": 1.0, "n": 600},
        "relation_error": {"value": 0.013, "low": 0.0, "high": 0.1, "n": 300},
        "verdict_error": empty,
    }
    reference, *others = names
    return Scores(
        reference,
        {reference: figures(first), **{name: figures(second) for name in others}},
        {name: figures(gap, drawn=False) for name in others},
        {"kind": "trained", "calibration": calibration},
        prompts=300, plain_prompts=75, seeds=1, pairs=39, confidence=0.95,
    )  # fmt: skip


def printed(scores: Scores) -> str:
    output = io.StringIO()
    Console(file=output, width=80).print(scores_table(scores))
    assert max(map(len, output.getvalue().splitlines())) <= 80
    assert "…" not in output.getvalue()
    return output.getvalue()


def test_table_fits_80_columns():
    gap = Difference(-0.5, -0.61, -0.389, 300, 0.0004)
    text = printed(
        scores(("before", "after"), Rate(0.101, 0.052, 1.0, 300), Rate(None, None, None, 0), gap)
    )
    assert "10 [5, 100]" in text and "-50 [-61, -39]" in text and "<.001" in text
    assert "39 pairs of objects" in text
    assert "objects found 98.7 %" in text and "wrong verdicts -" in text
    front = [line.split() for line in text.splitlines() if line.startswith("in front of")]
    assert front == [["in", "front", "of", "before", "15", "15", "12", "3", "5", "10", "10"]]


def test_tables_of_several_arms_at_their_widest_fit_80_columns():
    wide = Rate(1.0, 0.915, 1.0, 300)
    text = printed(
        scores(
            ("reference_arm", "random_seed_17", "without_blocks"),
            wide, wide, Difference(0.953, 0.91, 0.989, 300, 0.0123),
        )
    )  # fmt: skip
    assert text.count("+95 [+91, +99]") == 2 * len(FIGURES) and "random_seed_17" in text


def test_a_reference_alone_has_figures():
    alone = scores(("base",), Rate(0.5, 0.4, 0.6, 300), Rate(0, 0, 0, 0), Difference(0, 0, 0, 0, 1))
    assert "50 [40, 60]" in printed(alone)
