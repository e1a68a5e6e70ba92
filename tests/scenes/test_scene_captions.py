import itertools
import random
import re

import pytest

from ablate2tune.scenes.captions import TEMPLATES, Thing, captions, thing, with_article
from ablate2tune.scenes.catalogue import assets_module, catalogue
from ablate2tune.scenes.vocabulary import CONTRAST

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
