"""Captions as people write them, over every kind, and those of one scene by hand."""

import itertools
import re

import pytest

from ablate2tune.scenes.assets.asset_catalogue import catalogue
from ablate2tune.scenes.captions import Thing, compose, thing, things_of
from ablate2tune.scenes.dataset.caption_rates import choose, possible
from ablate2tune.scenes.scenes_config import CaptionRates
from ablate2tune.scenes.varied_captions import CONVERSE, FORMS, varied
from ablate2tune.scenes.vocabulary import CONTRAST, plural
from ablate2tune.scenes.wording import wordings

FAULT = re.compile(r"\b(a [aeiou]|an [^aeiou]|a an|the a)\b|  | ,|\{|\}|^ | $")
ROW = {
    "relation": "in front of", "scene_id": "g000004-a", "place": "in a street; on the street",
    "subject": "cat", "subject_colour": "black", "subject_pose": "sitting",
    "subject_variant": "kitten", "object": "car", "object_colour": "blue",
    "object_variant": "van", "also": "a red ball; a green bench",
    "light": "in the evening; with long shadows",
}  # fmt: skip
NOUNS = "cat|kitten|kitty", r"car\b|van|automobile"


def texts(row, relation, forms=60, bare=False):
    return {varied(row, relation, things_of(row), form, bare) for form in range(forms)}


@pytest.mark.parametrize("relation", [*CONTRAST, None])
def test_the_grammar_of_every_kind_and_wording(relation):
    kinds = sorted(catalogue())
    for (number, kind), variant in itertools.product(enumerate(kinds), range(2)):
        asset = catalogue()[kind]
        others = [thing(kinds[number - k], "red", "") for k in (1, 2)]
        look = list(asset.variants)[variant]
        things = [thing(kind, asset.colours[0], asset.poses[-1], None, look), *others]
        row = {"subject": kind, "subject_variant": look, "object": kinds[number - 1],
               "scene_id": str(number), "place": "in a room; indoors"}  # fmt: skip
        for form in range(FORMS):
            told = things[: 3 if relation == "between" else 2]
            text = varied(row, relation, told, form, bare=form % 2 == 0)
            assert not FAULT.search(text), text
            said = [w for r in {relation, CONVERSE.get(relation, relation)} if r
                    for w in wordings()[r]]  # fmt: skip
            assert relation is None or any(f" {words} " in text for words in said), text


def test_one_scene_is_said_in_many_ways():
    told = texts(ROW, "in front of")
    assert len(told) > 40
    for words in (
        "kitten",
        "cat",
        "van",
        "car",
        "sitting in front of",
        "behind a black",
        "the ",
        "in a street",
        "in the evening",
        "with long shadows",
        "There is also a red ball.",
        "There is also a green bench.",
    ):
        assert any(words in text for text in told), words
    # The converse exchanges the two; nothing else does.
    for text in told:
        first, second = (re.search(words, text.lower()) for words in NOUNS)
        assert first and second
        turned = " behind " in text or " in back of " in text
        with_ = " with " in text.replace("with long shadows", "")
        assert (first.start() < second.start()) == (turned == with_), text


def test_without_colours_and_without_the_relation():
    assert not any(
        "black" in text or "blue" in text for text in texts(ROW, "in front of", bare=True)
    )
    assert not any("front" in text or "behind" in text for text in texts(ROW, None))


def test_two_colours_are_both_said():
    ball = thing("ball", "red", "", None, "beach")
    assert ball.phrase() == "a red and white ball"
    assert thing("ball", "white", "", None, "beach").phrase() == "a white and black ball"
    assert thing("ball", "black", "", None, "football").phrase() == "a black ball"
    assert compose("behind", [ball, Thing("cube", "blue")]) == (
        "a red and white ball behind a blue cube"
    )


def test_rates_of_varied_and_typed_captions_and_the_style():
    from random import Random

    row = {**ROW, "prompt": "a kitten before the van"}
    rates = CaptionRates(varied=0.5, typed=0.25, style="3D render of")
    rng = Random(2)
    drawn = [choose(row, rates, rng) for _ in range(2000)]
    assert all(choice.text.startswith("3D render of ") for choice in drawn)
    typed = sum(choice.text.endswith("before the van") for choice in drawn) / 2000
    plain = sum(c.text == "3D render of a black cat in front of a blue car" for c in drawn) / 2000
    assert typed == pytest.approx(0.25, abs=0.04) and plain == pytest.approx(0.375, abs=0.045)
    assert {choice.text for choice in drawn} == set(possible(row, rates))
    assert choose(row, CaptionRates(dropped=1, style="3D render of"), rng).text == ""


def test_a_foil_has_the_words_of_its_true_caption():
    row = {**ROW, "relation": "left of", "also": "", "place": ""}
    for form in range(FORMS):
        true, foil = (varied(row, r, things_of(row), form, False) for r in ("left of", "right of"))
        assert true.replace("left", "right") == foil or true.replace("right", "left") == foil


def test_two_of_a_kind_are_named_together_at_times():
    row = {"scene_id": "g000002-a", "subject": "box", "subject_colour": "blue",
           "object": "box", "object_colour": "red"}  # fmt: skip
    assert texts(row, None) == {
        "two boxes, one blue and one red", "there are two boxes, one blue and one red",
        "two boxes, one blue and one red together", "a blue box and a red box",
        "there is a blue box and a red box", "a blue box and a red box together",
        "a blue box and the red box", "there is a blue box and the red box",
        "a blue box and the red box together",
    }  # fmt: skip
    assert "two boxes" in texts(row, None, bare=True)
    assert "two red boxes" in texts({**row, "subject_colour": "red"}, None)
    # A relation tells the two apart, and what has a pose or a second colour keeps its own phrase.
    told = [*texts(row, "left of"), *texts({**row, "subject_pose": "sitting"}, None)]
    told += texts({**row, "object_second": "white"}, None)
    assert not any("two" in text for text in told)


@pytest.mark.parametrize(
    ("noun", "several"),
    [("cup", "cups"), ("bench", "benches"), ("bus", "buses"), ("boy", "boys"), ("lady", "ladies"),
     ("person", "people"), ("young woman", "young women"), ("bookshelf", "bookshelves")],
)  # fmt: skip
def test_plurals(noun, several):
    assert plural(noun) == several
