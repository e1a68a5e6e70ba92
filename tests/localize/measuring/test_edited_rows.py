"""Rows that were edited by hand: refused in one line, never taken for what they are not."""

import json

import numpy as np
import pytest

from ablate2tune.errors import UserError
from ablate2tune.localize.measuring.condition import BASELINE
from ablate2tune.localize.measuring.results import Results

FIGURES, SIGMAS = ["target", "quality"], [0.9, 0.5]


def opened(path) -> Results:
    return Results(path, ["a", "b"], ["g", "h"], FIGURES, SIGMAS, "margin")


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "results.jsonl"
    values = {name: np.arange(4.0).reshape(2, 2) for name in FIGURES}
    opened(path).add({BASELINE: values}, 1.0)
    return path, [json.loads(line) for line in path.read_text().splitlines()]


def rewritten(path, rows) -> Results:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return opened(path)


def test_untouched_rows_are_taken(rows):
    path, lines = rows
    np.testing.assert_array_equal(rewritten(path, lines)[BASELINE]["target"], [[0, 1], [2, 3]])
    lines[1]["by_sigma"]["target"] = [None, 3.0]
    assert np.isnan(rewritten(path, lines)[BASELINE]["target"][1, 0])


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda row: row["by_sigma"].update(target=[1.0]), "target is .*, not 2 numbers"),
        (lambda row: row["by_sigma"].update(target=[1.0, 2.0, 3.0]), "not 2 numbers"),
        (lambda row: row["by_sigma"].update(quality=[1.0, "2.0"]), "quality is .*not 2 numbers"),
        (lambda row: row["by_sigma"].update(quality=[1.0, True]), "not 2 numbers"),
        (lambda row: row["by_sigma"].pop("quality"), "KeyError"),
        (lambda row: row.update(by_sigma=None), "TypeError"),
        (lambda row: row.pop("condition"), "KeyError"),
        (lambda row: row.update(schema="other/1"), "a row is of 'other/1'"),
    ],
)
def test_edited_rows_are_refused_in_a_line(rows, edit, message):
    path, lines = rows
    edit(lines[1])
    with pytest.raises(UserError, match=message) as error:
        rewritten(path, lines)
    assert "results.jsonl" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_line_that_is_no_row(rows):
    path, lines = rows
    with pytest.raises(UserError, match="a row is of None"):
        rewritten(path, [*lines, [1, 2]])
