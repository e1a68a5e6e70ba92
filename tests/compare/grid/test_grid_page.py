"""The picture of a comparison, by its pixels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from showing import shown

from ablate2tune.compare.grid.changes import Changes
from ablate2tune.compare.grid.grid_page import (
    BAR,
    FRAME,
    HEADLINE,
    LIGHT,
    MARGIN,
    PLATE,
    RIGHT,
    STAYED,
    WRONG,
    choose_rows,
    draw_grid,
    reading,
)
from ablate2tune.compare.prompts import relation_prompts
from ablate2tune.compare.verdicts import Verdict
from ablate2tune.scenes.vocabulary import RELATIONS


def test_as_many_rows_of_each_relation_drawn_by_seed(few_words):
    prompts = relation_prompts(few_words, 60, seed=0)
    rows = choose_rows(prompts, 12, seed=0)
    assert len(set(rows)) == 12
    asked = [prompts[row].relation for row in rows]
    assert asked == [relation for relation in RELATIONS for _ in range(2)]
    assert rows == choose_rows(prompts, 12, seed=0) != choose_rows(prompts, 12, seed=1)
    assert set(choose_rows(prompts, 6, seed=0)) < set(rows), "more rows keep the first"
    assert len(choose_rows(prompts, 100, seed=0)) == 60


def test_readings(few_words):
    prompt = next(p for p in relation_prompts(few_words, 60, 0) if p.relation == "left of")
    assert reading(prompt, Verdict(True, True, True, "left of", True, True, 0)) == "✓ left of"
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


def ink(code: str) -> tuple[int, ...]:
    return tuple(int(code[i : i + 2], 16) for i in (1, 3, 5))


def count(drawn: np.ndarray, colour: tuple[int, ...]) -> int:
    return int((drawn == colour).all(axis=2).sum())


@pytest.mark.parametrize(("prompts", "arms"), [(1, 2), (2, 2), (3, 2), (2, 1), (2, 3), (3, 5)])
def test_every_picture_of_every_arm_is_shown_enlarged(tmp_path, prompts, arms):
    colours = [(10 * i, 10, 200) for i in range(prompts * arms)]
    rows = [
        {
            f"arm{a}": shown(
                "left of", "left of", path=tile(tmp_path / f"{i}{a}.png", colours[i * arms + a])
            )
            for a in range(arms)
        }
        for i in range(prompts)
    ]
    draw_grid(rows, tmp_path / "out" / "grid.png")
    drawn = page(tmp_path / "out" / "grid.png")
    for colour in colours:
        assert count(drawn, colour) == (6 * 32) ** 2
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["grid.png"]


def test_a_judged_picture_is_framed_in_the_colour_of_its_verdict(tmp_path):
    """Right before and wrong after; without verdicts there is neither frame nor plate."""
    path = tile(tmp_path / "x.png", (129, 128, 127), 64, 64)
    right, wrong = (shown("left of", read, path=path) for read in ("left of", "right of"))
    draw_grid([{"before": right, "after": wrong}], tmp_path / "grid.png")
    drawn = page(tmp_path / "grid.png")
    tiles = np.argwhere((drawn == (129, 128, 127)).all(axis=2))
    (top, left), (bottom, end) = tiles.min(axis=0), tiles.max(axis=0)
    middle = (top + bottom) // 2
    assert tuple(drawn[middle, left - FRAME]) == ink(RIGHT)
    assert tuple(drawn[middle, end + FRAME]) == ink(WRONG)
    assert tuple(drawn[bottom + FRAME + PLATE, left]) == ink(RIGHT)
    assert tuple(drawn[bottom + FRAME + PLATE + 1, left]) == (255, 255, 255)

    unread = replace(right, verdict=None)
    draw_grid([{"before": unread, "after": unread}], tmp_path / "plain.png")
    plain = page(tmp_path / "plain.png")
    assert not count(plain, ink(RIGHT)) and not count(plain, ink(WRONG))
    assert len(plain) < len(drawn)


def test_what_changed_over_all_prompts_is_a_bar_to_scale(tmp_path):
    one = shown("left of", "left of", path=tile(tmp_path / "x.png", (1, 2, 3)))
    unread = replace(one, verdict=None)  # so that no frame has these colours
    changed = {"after": (Changes(10, 20, 5, 15), Changes(1, 0, 0, 0))}
    draw_grid([{"before": unread, "after": unread}], tmp_path / "bar.png", changed=changed)
    drawn = page(tmp_path / "bar.png")
    draw_grid([{"before": unread, "after": unread}], tmp_path / "none.png")
    assert len(drawn) == len(page(tmp_path / "none.png")) + HEADLINE
    row = drawn[MARGIN + 32 + BAR // 2, MARGIN:-MARGIN]
    found = [tuple(pixel) for pixel in row]
    shares = [found.count(ink(code)) / len(row) for code in (STAYED, RIGHT, WRONG, LIGHT)]
    assert shares == pytest.approx([0.2, 0.4, 0.1, 0.3], abs=0.005)


def test_large_pictures_are_reduced_and_keep_their_shape(tmp_path):
    one = shown("left of", None, path=tile(tmp_path / "x.png", (250, 10, 200), 512, 1024))
    draw_grid([{"before": one, "after": one}], tmp_path / "grid.png")
    assert count(page(tmp_path / "grid.png"), (250, 10, 200)) == 2 * 384 * 192


def test_a_remark_lengthens_the_caption(tmp_path):
    one = shown("left of", "left of", path=tile(tmp_path / "x.png", (1, 2, 3)))
    heights = []
    for remark in (None, "the judge is often wrong: 40 % of its verdicts on 300 rendered scenes"):
        draw_grid([{"before": one, "after": one}], tmp_path / "grid.png", remark=remark)
        heights.append(Image.open(tmp_path / "grid.png").height)
    assert heights[0] < heights[1]
