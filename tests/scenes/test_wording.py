import pytest

from ablate2tune.errors import UserError
from ablate2tune.scenes.vocabulary import CONTRAST
from ablate2tune.scenes.wording import WORDINGS, wordings


@pytest.fixture
def add(monkeypatch):
    """Registers words for the time of a test."""
    list(WORDINGS)
    monkeypatch.setattr(WORDINGS, "_things", dict(WORDINGS._things))
    return WORDINGS.add


def test_every_relation_has_words_its_own_name_first():
    said = wordings()
    assert list(said) == list(CONTRAST)
    assert all(ways[0] == relation for relation, ways in said.items())


def test_further_words_come_after_the_usual_ones(add):
    usual = wordings()
    add("further", {"on top of": ("perched upon", "on")})
    assert wordings() == {**usual, "on top of": (*usual["on top of"], "perched upon")}


@pytest.mark.parametrize(
    "words, message",
    [
        ({"atop of": ("atop of",)}, "unknown relation 'atop of'"),
        ({"on top of": ("On", "on")}, "'On' is not in lower case"),
        ({"on top of": ("up  on",)}, "'up  on' is not in lower case"),
        ({"on top of": ("",)}, "'' is not in lower case"),
        ({"on top of": "atop"}, r"are one text, 'atop'; write \('atop',\)"),  # not a, t, o and p
    ],
)
def test_what_is_no_wording(add, words, message):
    add("wrong", words)
    with pytest.raises(UserError, match=message):
        wordings()
