"""Sentences as people type them, and those that cannot be read."""

import pytest

from ablate2tune.scenes.prompts.prompt_reading import Prompt, read_prompt


def asked(text):
    found = read_prompt(text)
    assert isinstance(found, Prompt), found
    return found


@pytest.mark.parametrize(
    "text, relation, said, kinds",
    [
        ("a cat standing behind a chair", "behind", "standing behind", ["cat", "chair"]),
        ("A ball underneath a table.", "underneath", "underneath", ["ball", "table"]),
        ("a person in front of a building", "in front of", "in front of", ["person", "house"]),
        ("there is a dog sitting on top of a car", "on top of", "sitting on top of",
         ["dog", "car"]),
        ("a photo of a man beside the van", "next to", "beside", ["person", "car"]),
        ("a mug to the left of an armchair", "left of", "to the left of", ["cup", "chair"]),
        ("a kitten that is sitting in a crate", "inside", "sitting in", ["cat", "box"]),
        ("a tea cup between a bottle and a bowl", "between", "between", ["cup", "bottle", "bowl"]),
    ],
)  # fmt: skip
def test_what_a_sentence_asks_for(text, relation, said, kinds):
    found = asked(text)
    assert found.relations[0] == relation and found.said == said
    assert [thing.kind for thing in found.things] == kinds
    assert found.text == text


def test_under_is_said_of_two_relations():
    assert asked("a cat under a bird").relations == ("underneath", "below")


def test_words_narrow_the_looks_and_name_colours():
    man, car = asked("a man in red behind a white pick-up").things
    assert (man.word, man.variants, man.colour) == ("man", ("adult", "elder"), "red")
    assert (car.variants, car.colour) == (("pick-up",), "white")
    puppy, _ = asked("a gray puppy sitting next to a tree").things
    assert (puppy.variants, puppy.colour, puppy.pose) == (("puppy",), "grey", "sitting")


def test_a_colour_is_the_whole_colour_and_two_are_both():
    # Balls (ball.py): smooth ones, belted and beach balls with a white or black part, footballs.
    red, _ = asked("a red ball on a box").things
    assert (red.colour, red.plain) == ("red", ("smooth",)) and "beach" in red.variants
    both, _ = asked("a red and white ball on a box").things
    assert both.colour == "red" and set(both.variants) == {"belted", "beach"}
    patched, _ = asked("a red and black ball on a box").things
    assert patched.variants == ("football",)


@pytest.mark.parametrize(
    "text, why",
    [
        ("a wooden chair next to a table", "the word 'wooden' is unknown"),
        ("a catt behind a chair", "'catt' is unknown; did you mean 'cat'"),
        ("a zzz", "'zzz' is unknown; things are ball, bench, bird, bottle, bowl, box"),
        ("a giraffe behind a chair", "'giraffe' is unknown; things are ball"),
        ("two cats on a bench", "'two': one of each thing is shown; write it like 'a grey cat"),
        ("a cat on 3 boxes", "'3': one of each thing is shown"),
        ("a red and green ball on a box", "no ball is red and green; it can be red, red and"),
        ("a black and white cat on a box", "no cat is black and white; it can be black"),
        ("a cat and a chair", "states none of the relations left of"),
        ("a cat behind", "cannot be read; write it like"),
        ("a purple cat behind a chair", "no cat is purple; it can be black"),
        ("a dog lying on a bench", "no dog is lying; it can be standing or sitting"),
        ("a cat between a chair", "'between' takes two further things"),
        ("a cat behind a chair and a table", "'between' takes two further things"),
    ],
)
def test_why_a_sentence_cannot_be_read(text, why):
    found = read_prompt(text)
    assert isinstance(found, str) and why in found, found
