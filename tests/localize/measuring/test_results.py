"""Rows on disk and in memory, and what is not one of them."""

import json
from pathlib import Path

import numpy as np
import pytest

from ablate2tune.errors import UserError
from ablate2tune.localize.measuring.condition import BASELINE, Condition
from ablate2tune.localize.measuring.results import SCHEMA, Results

SKIP = Condition(("blocks.1",), "skip")


def opened(path: Path) -> Results:
    return Results(path, ["a", "b"], ["g", "h"], ["right", "far"], [], "pictures")


def written(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_row_per_example_and_one_of_all_together(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    results = opened(path)
    results.add({SKIP: {"right": np.array([1.0, np.nan])}}, 3.0, facts=[{"image": "1"}, {}])
    results.add_set(SKIP, {"far": 2.5})
    results.add({BASELINE: {"right": np.array([0.0])}}, 1.0, chunk=[1])
    results.begin_with([BASELINE])
    rows = written(path)
    assert [(row["condition"], row["example"]) for row in rows] == [
        ([], "b"), (["blocks.1"], "a"), (["blocks.1"], "b"), (["blocks.1"], None),
    ]  # fmt: skip
    assert rows[1] == {
        "schema": SCHEMA, "condition": ["blocks.1"], "mode": "skip", "probe": "pictures",
        "example": "a", "group": "g", "right": 1.0, "seconds": 1.5, "image": "1",
    }  # fmt: skip
    assert rows[2]["right"] is None
    again = opened(path)
    assert (SKIP in again, BASELINE in again) == (True, False)
    assert again.measured(BASELINE).tolist() == [False, True]
    np.testing.assert_array_equal(again[SKIP]["right"], [[1.0], [np.nan]])
    assert (again.of_set(SKIP), again.of_set(BASELINE)) == ({"far": 2.5}, None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": "ablate2tune/result/1"}, "a row is of 'ablate2tune/result/1'"),
        ({"right": "much"}, "a row is not one of a sweep"),
        ({"right": [1, 2]}, "a row is not one of a sweep"),
        ({"condition": None}, "a row is not one of a sweep"),
        ({"example": ["a"]}, "a row is not one of a sweep"),
    ],
)
def test_a_row_that_is_none_is_refused_in_one_line(tmp_path: Path, change: dict, said: str) -> None:
    path = tmp_path / "results.jsonl"
    opened(path).add({SKIP: {"right": np.array([1.0, 0.0])}}, 1.0)
    first, second = written(path)
    path.write_text(json.dumps(first | change) + "\n" + json.dumps(second) + "\n")
    with pytest.raises(UserError, match=said) as refused:
        opened(path)
    assert "\n" not in str(refused.value)
    assert str(path) in str(refused.value)
