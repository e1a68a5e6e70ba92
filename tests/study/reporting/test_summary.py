"""Settings, references and labels, on made-up cells whose figures are known."""

import math

import pytest

from ablate2tune.study.experiment import EXPERIMENTS
from ablate2tune.study.reporting.next_experiments import next_experiments
from ablate2tune.study.reporting.summary import chance_tests, summarise
from ablate2tune.study.study_config import StudyConfig

TUNING = EXPERIMENTS["tuning"]
CONFIG = StudyConfig.model_validate(
    {
        "arms": {
            "top": None,
            "chance": {"targets": "random", "draws": 4},
            "all": {"targets": "all"},
        },
        "seeds": [1, 2, 3],
        "axes": {"train.rank": [4, 16]},
    }
)


def cell(arm: str, budget: int | None, seed: int, margin: float, draw: int = 0, **more) -> dict:
    axis = more.pop("axis", {})
    name = ", ".join([arm, *(f"{k}={v}" for k, v in axis.items()), f"{budget}"])
    row = {"setting": name, "arm": arm, "budget": budget, "axis": axis, "seed": seed, "draw": draw,
           "key": "k", "status": "done", "message": "", "margin": margin, "parameters": 10,
           "margins": {"left of": margin, "right of": 2 * margin}}  # fmt: skip
    return row | more


ROWS = [
    *(cell("top", 4, seed, margin) for seed, margin in ((1, 0.5), (2, 0.6), (3, 0.7))),
    *(cell("chance", 4, seed, 0.1 * seed, draw) for seed in (1, 2, 3) for draw in range(4)),
    *(cell("all", None, seed, margin) for seed, margin in ((1, 0.9), (2, 0.3), (3, 0.6))),
    cell("top", 4, 1, 0.55, axis={"train.rank": 16}),
    cell("top", 4, 1, 9.9, axis={"train.rank": 4}, status="diverged"),
]


def test_figures_and_intervals_over_seeds() -> None:
    top, chance, *_ = summarise(ROWS, TUNING, CONFIG)
    reach = 4.302653 * 0.1 / math.sqrt(3)
    assert top["margin"]["value"] == pytest.approx(0.6)
    assert top["margin"]["high"] == pytest.approx(0.6 + reach, abs=1e-5)
    assert top["margins"]["right of"]["value"] == pytest.approx(1.2)
    assert (chance["seeds"], chance["statuses"]) == (3, {"done": 12})
    assert chance["margin"]["value"] == pytest.approx(0.2)


def test_differences_are_paired_by_seed_and_told_from_none() -> None:
    top, chance, everything, wide, narrow = summarise(ROWS, TUNING, CONFIG)
    # .4 in every seed; of the 125 choices of one run of each seed none other reaches it, and this
    # is one of two differences: p = 2/125.
    assert top["against"] == "chance, 4"
    assert top["difference"]["value"] == pytest.approx(0.4)
    assert top["difference"]["p_corrected"] == pytest.approx(2 / 125)
    assert top["label"] == "helps"
    assert "against" not in chance and chance["label"] == "-"
    # .4, -.3, -.1 from the guided arm at its largest budget.
    assert everything["against"] == "top, 4"
    assert everything["difference"]["value"] == pytest.approx(0.0)
    assert everything["label"] == "neutral"
    assert (wide["against"], wide["label"]) == ("top, 4", "single seed")
    assert narrow["statuses"] == {"diverged": 1} and "margin" not in narrow


@pytest.mark.parametrize(("arm", "draws"), [("top", 1), ("matched", 4)])
def test_student_tells_what_an_exchange_cannot(arm: str, draws: int) -> None:
    """One random set a seed leaves 8 choices; a mean over sets is none of them."""
    drawn = {"targets": "random", "draws": draws}
    arms = {"top": None, "chance": drawn, "matched": {**drawn, "match": "depth"}}
    rows = [
        cell(name, 4, seed, margin, draw)
        for name in ("chance", arm)
        for seed, margin in enumerate([0.5] * 3 if name == "chance" else [0.6, 0.7, 0.8])
        for draw in range(draws)
    ]
    _, entry = summarise(rows, TUNING, StudyConfig.model_validate({"arms": arms}))
    # Gaps of .1, .2, .3: t is the root of 12, and with two degrees p = 1 - t / (t^2 + 2)^.5.
    assert entry["difference"]["p"] == pytest.approx(1 - (12 / 14) ** 0.5)


def test_chance_is_tested_on_all_draws_with_seeds_as_blocks() -> None:
    (found,) = chance_tests(ROWS, TUNING, CONFIG, seed=0)
    # Its distance is .4 in each block and that of the others -.1, so of the 125 choices of one run
    # of each seed only that of all three guided ones reaches it.
    assert (found["budget"], found["seeds"], found["draws"]) == (4, 3, 12)
    assert found["p"] == pytest.approx(1 / 125)
    assert found["best"] == pytest.approx(0.2)
    assert found["difference"]["value"] == pytest.approx(0.4)


def test_what_is_next_asks_for_seeds_where_there_is_one() -> None:
    entries, tests = summarise(ROWS, TUNING, CONFIG), chance_tests(ROWS, TUNING, CONFIG, 0)
    assert next_experiments(entries, tests, TUNING, CONFIG)[0].startswith("study.seeds=[1, 2, 3, 4")


def test_a_rule_that_is_no_better_than_chance_is_to_be_replaced() -> None:
    worse = [row | {"margin": -row["margin"]} if row["arm"] == "top" else row for row in ROWS]
    entries, tests = summarise(worse, TUNING, CONFIG), chance_tests(worse, TUNING, CONFIG, 0)
    assert entries[0]["label"] == "hurts"
    assert next_experiments(entries, tests, TUNING, CONFIG)[0].startswith("another rule")
