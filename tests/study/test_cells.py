"""The plan of a study: which cells there are, in which order, and what is refused."""

from pathlib import Path

import pytest

from ablate2tune.errors import UserError
from ablate2tune.recipe import Recipe, load_recipe
from ablate2tune.study.cells import plan, recipe_of, shares

RECIPE = "name: x\nmodel: {path: none}\ntrain: {count: 4, rank: 8}\nstudy: {seeds: [1, 2]}\n"


@pytest.fixture
def recipe(tmp_path: Path):
    def make(*overrides: str) -> Recipe:
        path = tmp_path / "recipe.yaml"
        path.write_text(RECIPE)
        return load_recipe(path, list(overrides))

    return make


def test_arms_budgets_seeds_and_draws(recipe) -> None:
    arms = "{top: , chance: {targets: random, draws: 2}, all: {targets: all}}"
    cells = plan(recipe(f"study.arms={arms}", "study.budgets=[2, 6]"))
    assert [(c.arm, c.budget, c.seed, c.draw) for c in cells if c.seed == 1] == [
        ("top", 2, 1, 0), ("top", 6, 1, 0), ("chance", 2, 1, 0), ("chance", 2, 1, 1),
        ("chance", 6, 1, 0), ("chance", 6, 1, 1), ("all", None, 1, 0),
    ]  # fmt: skip
    assert [c.seed for c in cells] == [1] * 7 + [2] * 7


def test_axes_depart_one_by_one_and_cross_together(recipe) -> None:
    varied = recipe(
        "study.arms={top: }",
        "study.axes={train.rank: [8, 16], train.steps: [5, 6], localize.mode: [zero]}",
        "study.cross=[train.rank, train.steps]",
        "study.seeds=[3]",
    )
    cells = plan(varied)
    # Rank 8 is the recipe's own, so that it is the baseline.
    assert [dict(cell.axis) for cell in cells] == [
        {}, {"train.rank": 16}, {"train.steps": 5}, {"train.steps": 6}, {"localize.mode": "zero"},
        {"train.rank": 16, "train.steps": 5}, {"train.rank": 16, "train.steps": 6},
    ]  # fmt: skip
    assert {cell.budget for cell in cells} == {4}
    made = recipe_of(varied, cells[5])
    assert (made.seed, made.train.rank, made.train.steps, made.train.count) == (3, 16, 5, 4)
    assert cells[5].setting == "top, 4 modules, train.rank=16, train.steps=5"


def test_a_grid_is_run_under_every_other_setting(recipe) -> None:
    varied = recipe(
        "study.arms={}",
        "study.axes={train.rank: [16], train.steps: [5], train.learning_rate: [2, 3]}",
        "study.cross=[[train.rank, train.steps]]",
        "study.grid=train.learning_rate",
        "study.seeds=[3]",
    )
    assert [list(cell.axis.values()) for cell in plan(varied)] == [
        [], [16], [5], [2], [3], [16, 5], [16, 2], [16, 3], [5, 2], [5, 3], [16, 5, 2], [16, 5, 3],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("study.axes={train.rnk: [4]}", "study.axes: unknown key 'train.rnk'; did you mean 'rank'"),
        ("study.axes={train.rank: [0]}", "study.axes: train.rank = 0: input should be greater"),
        ("study.axes={train.count: [4]}", "train.count cannot be varied; use study.budgets"),
        ("study.axes={seed: [4]}", "seed cannot be varied; use study.seeds"),
        ("study.axes={scenes.images: [9]}", "render the sets first and use scenes.folder"),
        ("study.arms={a: {overrides: {train.targets: all}}}", "study.arms.a.overrides: train.tar"),
        ("study.arms={a: {rank_by: impct}}", "study.arms.a: localize.rank_by = 'impct': "),
    ],
)
def test_what_cannot_be_varied_is_one_line(recipe, override: str, line: str) -> None:
    with pytest.raises(UserError) as caught:
        plan(recipe(override))
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_arm_by_another_rule_leaves_the_scout_s_steps(recipe) -> None:
    arms = "study.arms={scout: {rank_by: scout}, impact: {rank_by: impact}}"
    varied = recipe("localize.rank_by=scout", "localize.scout_steps=40", arms, "study.seeds=[1]")
    made = [recipe_of(varied, cell).localize for cell in plan(varied)]
    assert [(one.rank_by, one.scout_steps) for one in made] == [("scout", 40), ("impact", None)]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_processes_share_and_then_take_what_is_left(count: int) -> None:
    for index in range(count):
        order = list(shares(7, index, count))
        assert sorted(order) == list(range(7))
        own = [i for i in range(7) if i % count == index]
        assert order[: len(own)] == own
