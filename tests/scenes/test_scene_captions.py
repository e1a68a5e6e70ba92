import itertools
import random
import re

import pytest

from ablate2tune.scenes.assets.asset_catalogue import assets_module, catalogue
from ablate2tune.scenes.captions import (
    TEMPLATES,
    Thing,
    captions,
    compose,
    reversed_claim,
    templates,
    thing,
    things_of,
)
from ablate2tune.scenes.checking.claims import RELATION
from ablate2tune.scenes.vocabulary import CONTRAST, with_article

VOWEL = re.compile(r"\b(a [aeiou]|an [^aeiou])")
BALL, CUBE, CAT = Thing("ball", "orange"), Thing("cube", "blue"), Thing("cat", "grey", "sitting")


def made(relation, things, seed=0):
    return captions(relation, things, "green", Thing("cone", "orange"), random.Random(seed))


def test_every_phrase_has_the_right_article():
    for name, asset in catalogue().items():
        for colour in assets_module().COLOURS:
            one = Thing(name, colour, "", asset.wording)
            assert not VOWEL.search(one.phrase()) and not VOWEL.search(one.bare())
    assert with_article("orange ball") == "an orange ball"
    assert VOWEL.search("a orange ball") and VOWEL.search("an red ball")


@pytest.mark.parametrize("relation", CONTRAST)
def test_every_form_of_every_caption_over_the_whole_vocabulary(relation):
    """Articles, words and relation, for each object in each colour and pose as the subject."""
    known = catalogue()
    colours = assets_module().COLOURS
    subjects = [
        thing(name, colour, pose)
        for (name, asset), colour in itertools.product(known.items(), colours)
        for pose in asset.poses
    ]
    for number, subject in enumerate(subjects):
        others = [subjects[number - 7], subjects[number - 31]]
        things = [subject, *others][: 3 if relation == "between" else 2]
        for claim in (relation, None):
            for template in (None, *templates(claim, things)):
                for bare in (False, True):
                    text = compose(claim, things, template, bare)
                    assert not VOWEL.search(text) and "  " not in text and "{" not in text, text
                    for one in things:
                        assert re.search(rf"\b{one.kind}\b", text), text
                        assert bare or re.search(rf"\b{one.colour}\b", text), text
                    assert claim is None or claim in text, text
        assert RELATION.search(compose(relation, things))[1] == relation


def test_every_relation_has_several_templates():
    for relation in (*CONTRAST, None):
        things = [BALL, CUBE, CAT][: 3 if relation == "between" else 2]
        texts = {compose(relation, things, t) for t in templates(relation, things)}
        assert len(texts) >= 4 and compose(relation, things) not in texts


def test_a_foil_reverses_the_relation_or_exchanges_the_first_two():
    assert reversed_claim("near", [BALL, CUBE]) == ("far from", [BALL, CUBE])
    assert reversed_claim("between", [BALL, CUBE, CAT]) == ("between", [CUBE, BALL, CAT])


@pytest.mark.parametrize(
    "words",
    ["an umbrella", "a unicorn", "a uniform", "an uninvited guest", "a user", "an urn", "a utensil",
     "an hourglass", "a house", "a ewe", "an egg", "a euro", "an iron", "a one-way sign",
     "an onion", "an Orange cat", "an heirloom", "a hedge"],
)  # fmt: skip
def test_articles_go_by_sound(words):
    assert with_article(words.split(" ", 1)[1]) == words


def test_rows_with_and_without_wordings():
    row = {"subject": "person", "subject_colour": "orange", "object": "cube",
           "object_colour": "blue", "third": "", "third_colour": ""}  # fmt: skip
    assert things_of(row) == [Thing("person", "orange"), CUBE]
    spoken = {"subject_wording": "{name} in {colour}", "subject_pose": "waving", "third": "cat",
              "third_colour": "grey"}  # fmt: skip
    first, _, third = things_of(row | spoken)
    assert compose("behind", [first, CUBE], TEMPLATES[2]) == (
        "there is a person in orange waving behind a blue cube"
    )
    assert third == Thing("cat", "grey")


def test_no_caption_has_an_article_error():
    for relation, seed in itertools.product(CONTRAST, range(len(TEMPLATES) * 3)):
        things = [BALL, Thing("bench", "orange"), CAT][: 3 if relation == "between" else 2]
        for text in made(relation, things, seed).values():
            assert not VOWEL.search(text), text


def test_two_things_by_hand():
    texts = made("left of", [BALL, CUBE])
    assert texts["text"] == "an orange ball left of a blue cube"
    assert texts["text_bare"] == "a ball left of a cube"
    assert texts["pair_text"] == "an orange ball and a blue cube"
    assert texts["foil"] == "an orange ball right of a blue cube"
    assert texts["foil_swapped"] == "a blue cube left of an orange ball"
    assert texts["foil_colour"] == "a green ball left of a blue cube"
    assert texts["foil_object"] == "an orange cone left of a blue cube"


def test_between_by_hand():
    texts = made("between", [BALL, CUBE, CAT])
    assert texts["text"] == "an orange ball between a blue cube and a grey cat"
    assert texts["foil"] == "a blue cube between an orange ball and a grey cat"
    assert texts["pair_text"] == "an orange ball, a blue cube and a grey cat"


@pytest.mark.parametrize("relation", ["near", "far from", "next to"])
def test_exchanged_roles_are_no_foil_of_a_relation_that_holds_both_ways(relation):
    texts = made(relation, [BALL, CUBE])
    assert texts["foil_swapped"] == texts["foil"] != texts["text"]


def test_natural_captions_vary_and_say_the_pose():
    texts = {made("on top of", [CAT, CUBE], seed)["text_natural"] for seed in range(60)}
    assert len(texts) == len(TEMPLATES)
    assert "a grey cat is sitting on top of a blue cube" in texts
    assert all("grey cat" in t and "blue cube" in t and "on top of" in t for t in texts)


def test_people_wear_their_colour():
    assert thing("person", "orange", "waving").phrase() == "a person in orange"
    assert thing("cat", "orange", "lying").phrase() == "an orange cat"
    assert thing("cube", "red", "standing").doing("near") == "near"
