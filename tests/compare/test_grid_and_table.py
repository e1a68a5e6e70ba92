import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from showing import shown

from ablate2tune.compare.grid import MARK, WRONG, choose_rows, draw_grid, reading
from ablate2tune.compare.grid import RIGHT as RIGHT_INK
from ablate2tune.compare.prompts import relation_prompts
from ablate2tune.compare.scores import Figures, Scores
from ablate2tune.compare.scores_table import scores_table
from ablate2tune.compare.verdicts import Verdict
from ablate2tune.statistics.rates import Difference, Rate

RIGHT = Verdict(True, True, True, "left of", True, True, 0)


def test_rows_take_turns_over_the_relations(few_words):
    prompts = relation_prompts(few_words, 60, seed=0)
    rows = choose_rows(prompts, 8, seed=0)
    assert len(set(rows)) == 8
    assert len({prompts[row].relation for row in rows[:6]}) == 6
    assert rows == choose_rows(prompts, 8, seed=0) != choose_rows(prompts, 8, seed=1)
    assert len(choose_rows(prompts, 100, seed=0)) == 60


def test_readings(few_words):
    prompt = next(p for p in relation_prompts(few_words, 60, 0) if p.relation == "left of")
    assert reading(prompt, RIGHT) == "✓ left of"
    wrong = Verdict(True, True, True, "behind", False, False, 0)
    assert reading(prompt, wrong) == "✗ behind"
    unread = Verdict(True, True, True, None, False, False, 0)
    assert reading(prompt, unread) == "✗ no clear relation"
    half = Verdict(True, False, False, None, False, False, 0)
    assert reading(prompt, half) == f"✗ no {prompt.object_label}"
    none = Verdict(False, False, False, None, False, False, 0)
    assert reading(prompt, none) == "✗ neither object"


def tile(path: Path, colour: tuple[int, int, int], height: int = 32, width: int = 32) -> Path:
    Image.fromarray(np.full((height, width, 3), colour, np.uint8)).save(path)
    return path


def page(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


@pytest.mark.parametrize(("count", "arms"), [(1, 2), (2, 2), (3, 2), (2, 1), (2, 3), (3, 5)])
def test_grid_shows_every_picture_of_every_arm_enlarged(tmp_path, count, arms):
    colours = [(10 * i, 10, 200) for i in range(count * arms)]
    rows = [
        {
            f"arm{a}": shown(
                "left of", "left of",
                path=tile(tmp_path / f"{i}{a}.png", colours[i * arms + a]),
            )
            for a in range(arms)
        }
        for i in range(count)
    ]  # fmt: skip
    draw_grid(rows, tmp_path / "out" / "grid.png")
    drawn = page(tmp_path / "out" / "grid.png")
    for colour in colours:
        assert (drawn == colour).all(axis=2).sum() == (3 * 32) ** 2
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["grid.png"]


def test_grid_without_verdicts_has_no_marks(tmp_path):
    from dataclasses import replace

    one = shown("left of", "left of", path=tile(tmp_path / "x.png", (128, 128, 128), 64, 64))
    coloured = [tuple(int(code[i : i + 2], 16) for i in (1, 3, 5)) for code in (RIGHT_INK, WRONG)]

    def drawn(one) -> tuple[int, bool]:
        draw_grid([{"before": one, "after": one}] * 2, tmp_path / "grid.png")
        found = page(tmp_path / "grid.png")
        return len(found), any((found == colour).all(axis=2).any() for colour in coloured)

    height, marked = drawn(one)
    assert marked
    unjudged = replace(one, verdict=None)
    assert drawn(unjudged) == (height - MARK, False), "the space for marks is gone, too"


def test_large_pictures_are_reduced_and_keep_their_shape(tmp_path):
    one = shown("left of", None, path=tile(tmp_path / "x.png", (250, 10, 200), 512, 1024))
    draw_grid([{"before": one, "after": one}], tmp_path / "grid.png")
    found = page(tmp_path / "grid.png")
    assert (found == (250, 10, 200)).all(axis=2).sum() == 2 * 384 * 192


def test_a_remark_lengthens_the_caption(tmp_path):
    one = shown("left of", "left of", path=tile(tmp_path / "x.png", (1, 2, 3)))
    heights = []
    for remark in (None, "the judge is often wrong: 40 % of its verdicts on 300 rendered scenes"):
        draw_grid([{"before": one, "after": one}], tmp_path / "grid.png", remark)
        heights.append(Image.open(tmp_path / "grid.png").height)
    assert heights[0] < heights[1]


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
