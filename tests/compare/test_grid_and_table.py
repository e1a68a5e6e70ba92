import io

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from ablate2tune.compare.compare import Scores
from ablate2tune.compare.grid import MARK, WRONG, Pair, choose_rows, draw_grid, reading
from ablate2tune.compare.grid import RIGHT as RIGHT_INK
from ablate2tune.compare.metrics import Figures
from ablate2tune.compare.prompts import relation_prompts
from ablate2tune.compare.table import scores_table
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


@pytest.mark.parametrize("count", [1, 2, 3])
def test_grid_shows_every_picture_enlarged(few_words, tmp_path, count):
    prompts = relation_prompts(few_words, count, 0)
    colours = [(20 * i, 10, 200) for i in range(2 * count)]
    tiles = [np.full((32, 32, 3), colour, np.uint8) for colour in colours]
    pairs = [Pair(p, tiles[2 * i], tiles[2 * i + 1], RIGHT, RIGHT) for i, p in enumerate(prompts)]
    draw_grid(pairs, tmp_path / "grid.png")
    page = np.asarray(Image.open(tmp_path / "grid.png"))
    for colour in colours:
        assert (page == colour).all(axis=2).sum() == (3 * 32) ** 2
    assert [p.name for p in tmp_path.iterdir()] == ["grid.png"]


def test_grid_without_verdicts_has_no_marks(few_words, tmp_path):
    prompts = relation_prompts(few_words, 2, 0)
    tile = np.full((64, 64, 3), 128, np.uint8)
    coloured = [tuple(int(code[i : i + 2], 16) for i in (1, 3, 5)) for code in (RIGHT_INK, WRONG)]

    def drawn(verdict: Verdict | None) -> tuple[int, bool]:
        pairs = [Pair(prompt, tile, tile, verdict, verdict) for prompt in prompts]
        draw_grid(pairs, tmp_path / "grid.png")
        page = np.asarray(Image.open(tmp_path / "grid.png"))
        return len(page), any((page == colour).all(axis=2).any() for colour in coloured)

    height, marked = drawn(RIGHT)
    assert marked
    assert drawn(None) == (height - MARK, False), "the space for marks is gone, too"


def test_large_pictures_are_reduced_and_keep_their_shape(few_words, tmp_path):
    (prompt,) = relation_prompts(few_words, 1, 0)
    tile = np.full((512, 1024, 3), (250, 10, 200), np.uint8)
    draw_grid([Pair(prompt, tile, tile, None, None)], tmp_path / "grid.png")
    page = np.asarray(Image.open(tmp_path / "grid.png"))
    assert (page == tile[0, 0]).all(axis=2).sum() == 2 * 384 * 192


def test_a_remark_lengthens_the_caption(few_words, tmp_path):
    (prompt,) = relation_prompts(few_words, 1, 0)
    tile = np.full((32, 32, 3), 128, np.uint8)
    heights = []
    for remark in (None, "the judge is often wrong: 40 % of its verdicts on 300 rendered scenes"):
        draw_grid([Pair(prompt, tile, tile, RIGHT, RIGHT)], tmp_path / "grid.png", remark)
        heights.append(Image.open(tmp_path / "grid.png").height)
    assert heights[0] < heights[1]


def test_table_fits_80_columns():
    def figures(make):
        names = (
            "spatial",
            "spatial_strict",
            "relation_given_objects",
            "objects",
            "extra",
            "forgetting",
        )
        return Figures(
            **{name: make() for name in names},
            per_relation={"in front of": make(), "underneath": make()},
        )

    empty = {"value": None, "low": None, "high": None, "n": 0}
    calibration = {
        "images": 300,
        "object_recall": {"value": 0.987, "low": 0.9, "high": 1.0, "n": 600},
        "relation_error": {"value": 0.013, "low": 0.0, "high": 0.1, "n": 300},
        "verdict_error": empty,
    }
    scores = Scores(
        figures(lambda: Rate(0.101, 0.052, 1.0, 300)),
        figures(lambda: Rate(None, None, None, 0)),
        figures(lambda: Difference(-0.5, -0.61, -0.389, 300, 0.0004)),
        {"kind": "testbed", "calibration": calibration},
        prompts=300, plain_prompts=75, seeds=1, confidence=0.95,
    )  # fmt: skip
    output = io.StringIO()
    Console(file=output, width=80).print(scores_table(scores))
    text = output.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert "10 [5, 100]" in text and "-50 [-61, -39]" in text and "<.001" in text
    assert "underneath" in text and "…" not in text
    assert "objects found 98.7 %" in text and "wrong verdicts -" in text
