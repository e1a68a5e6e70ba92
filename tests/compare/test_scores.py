from dataclasses import replace

import pytest
from showing import shown

from ablate2tune.compare.scores import Figures, Scores, drawn, score
from ablate2tune.statistics.rates import Difference, Rate
from ablate2tune.statistics.resampling import Resampling

HOW = Resampling(seed=0, bootstrap=4000, confidence=0.95)
COLOURS = ("red", "green", "blue", "yellow", "purple")


def pair(number: int) -> dict:
    """Objects that no other picture shares, and an index."""
    return {"colours": (COLOURS[number], COLOURS[number - 1]), "index": number}


BEFORE = [
    shown("left of", "left of", **pair(0)),
    shown("left of", "right of", **pair(1)),
    shown("left of", "behind", **pair(2)),
    shown("behind", None, **pair(3)),
    shown("behind", None, objects=False, extra=1, **pair(4)),
    shown(None, "left of", **pair(0)),
    shown(None, "behind", **pair(1)),
]
AFTER = [
    shown("left of", "left of", extra=1, **pair(0)),
    shown("left of", "right of", **pair(1)),
    shown("left of", "right of", **pair(2)),
    shown("behind", "behind", **pair(3)),
    shown("behind", "in front of", **pair(4)),
    shown(None, None, **pair(0)),
    shown(None, None, objects=False, **pair(1)),
]


def test_every_figure_by_hand():
    arms, gaps = score({"before": BEFORE, "after": AFTER}, "before", HOW)
    expected = {
        "spatial": (1 / 5, 2 / 5, 5),
        "spatial_strict": (1 / 5, 1 / 5, 5),
        "relation_given_objects": (1 / 4, 2 / 5, 5),
        "kind_given_objects": (2 / 4, 5 / 5, 5),
        "direction_given_kind": (1 / 2, 2 / 5, 5),
        "objects": (4 / 5, 5 / 5, 5),
        "extra": (1 / 5, 1 / 5, 5),
        "forgetting": (2 / 2, 1 / 2, 2),
    }
    assert list(arms["before"].overall) == list(expected)
    for key, (before, after, n) in expected.items():
        early, late = arms["before"].overall[key], arms["after"].overall[key]
        assert (early.value, late.value, late.n) == (before, after, n), key
        assert gaps["after"].overall[key].value == pytest.approx(after - before), key
    assert list(gaps) == ["after"]


def test_kind_and_direction_are_told_relation_by_relation():
    arms, gaps = score({"before": BEFORE, "after": AFTER}, "before", HOW)
    before, after = arms["before"].per_relation, arms["after"].per_relation
    assert set(before) == {"left of", "behind"}
    assert set(before["left of"]) == {"spatial", "kind_given_objects", "direction_given_kind"}
    assert before["left of"]["kind_given_objects"].value == pytest.approx(2 / 3)
    assert after["left of"]["kind_given_objects"].value == 1
    assert after["left of"]["direction_given_kind"].value == pytest.approx(1 / 3)
    assert before["behind"]["direction_given_kind"].value is None, "never of the right kind"
    assert gaps["after"].per_relation["left of"]["spatial"].value == 0
    assert arms["before"].drawn == {
        "behind": {"right": 0, "opposite": 0, "other kind": 0, "unclear": 1, "missing": 1},
        "left of": {"right": 1, "opposite": 1, "other kind": 1, "unclear": 0, "missing": 0},
    }
    assert sum(arms["after"].drawn["left of"].values()) == 3


@pytest.mark.parametrize(
    ("asked", "read", "what"),
    [
        ("on top of", "on top of", "right"),
        ("on top of", "underneath", "opposite"),
        ("on top of", "behind", "other kind"),
        ("on top of", None, "unclear"),
    ],
)
def test_what_was_drawn(asked, read, what):
    assert drawn(shown(asked, read)) == what
    assert drawn(shown(asked, read, objects=False)) == "missing"


def test_prompts_that_share_a_pair_of_objects_are_resampled_as_one():
    # 20 pairs of 10 prompts each, all right or all wrong within a pair: 20 observations, not 200.
    def arm(each: int) -> list:
        return [
            replace(one, prompt=replace(one.prompt, subject=f"ball{number}"))
            for number in range(20)
            for one in [shown("left of", "left of" if number % 2 else "behind")] * each
        ]

    rates = [score({"only": arm(each)}, "only", HOW)[0]["only"] for each in (1, 10)]
    alone, shared = (figures.overall["spatial"] for figures in rates)
    assert (alone.value, alone.n, shared.n) == (0.5, 20, 200)
    assert (shared.low, shared.high) == (alone.low, alone.high)
    # Of binomial(20, 1/2) / 20 the 2.5 % quantiles are .3 and .7.
    assert (alone.low, alone.high) == (pytest.approx(0.3), pytest.approx(0.7))
    turned = replace(BEFORE[0].prompt, subject="cube", object="ball")
    turned = replace(turned, subject_colour="blue", object_colour="red")
    assert replace(BEFORE[0], prompt=turned).cluster == shown("left of", None).cluster


def test_figures_survive_the_result_file():
    arms, gaps = score({"before": BEFORE, "after": AFTER, "third": BEFORE}, "after", HOW)
    assert set(gaps) == {"before", "third"} and gaps["before"] == gaps["third"]
    assert Figures.of(arms["after"].as_dict(), Rate) == arms["after"]
    assert Figures.of(gaps["third"].as_dict(), Difference) == gaps["third"]


def test_a_result_file_tells_numbers_first_then_arms_and_the_judge_last():
    scores = Scores("before", {}, {}, {"kind": "trained"}, 3, 2, 1, 3, 0.95)
    assert list(scores.as_dict()) == [
        "schema", "reference", "prompts", "plain_prompts", "seeds", "pairs", "confidence",
        "arms", "difference", "judge",
    ]  # fmt: skip
