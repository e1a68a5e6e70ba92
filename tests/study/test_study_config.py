"""The section study: what is refused, and what it means when it is left out."""

import pytest
from pydantic import ValidationError

from ablate2tune.study.study_config import StudyConfig


def test_guided_and_chance_are_found_by_themselves() -> None:
    config = StudyConfig.model_validate({"arms": {"a": None, "b": {"targets": "random"}}})
    assert (config.guided_arm, config.chance_arm) == ("a", "b")
    assert StudyConfig.model_validate({"arms": {"a": None}}).chance_arm is None


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"guided": "tpo", "arms": {"top": None}}, "did you mean 'top'"),
        ({"cross": ["train.rank"]}, "is no axis"),
        ({"seeds": [1, 1]}, "a number comes twice"),
        ({"seeds": []}, "at least 1"),
        ({"axes": {"train.rank": []}}, "has no values"),
        ({"arms": {"a": {"draws": 2}}}, "targets: random"),
        ({"arms": {"a": {"targets": "list"}}}, "needs modules"),
        ({"arms": {"a": {"equal_parameters": True}}}, "targets: all or list"),
        ({"arms": {"a": {"targets": "all", "rank_by": "impact"}}}, "top or bottom"),
    ],
)
def test_refused(values: dict, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        StudyConfig.model_validate(values)
