from placing import place

from ablate2tune.compare.prompts import Prompt
from ablate2tune.compare.verdicts import Verdict, give_verdict

LEFT = Prompt("a red ball left of a blue cube", "left of", "ball", "red", "cube", "blue", 0)
BALL = place("red ball", 6, 22, 26, 44, 5.5)
CUBE = place("blue cube", 36, 20, 58, 42, 5.6)


def test_right_objects_in_the_right_place():
    assert give_verdict(LEFT, [BALL, CUBE]) == Verdict(
        True, True, True, relation_read="left of", relation_right=True, spatial=True, extra=0
    )


def test_right_objects_in_the_wrong_place():
    ball, cube = place("red ball", *CUBE.box, 5.5), place("blue cube", *BALL.box, 5.6)
    assert give_verdict(LEFT, [ball, cube]) == Verdict(
        True, True, True, relation_read="right of", relation_right=False, spatial=False, extra=0
    )


def test_a_wrong_colour_is_a_missing_object_and_an_extra_one():
    assert give_verdict(LEFT, [BALL, place("green cube", *CUBE.box, 5.6)]) == Verdict(
        True, False, False, relation_read=None, relation_right=False, spatial=False, extra=1
    )


def test_duplicates_are_extra_and_the_largest_counts():
    small = place("red ball", 59, 20, 63, 26, 5.6)
    verdict = give_verdict(LEFT, [BALL, CUBE, small])
    assert verdict.spatial and verdict.extra == 1


def test_a_prompt_without_a_relation_has_no_relation_verdict():
    plain = Prompt("a red ball and a blue cube", None, "ball", "red", "cube", "blue", 0)
    verdict = give_verdict(plain, [BALL, CUBE])
    assert verdict.objects and verdict.relation_right is None and verdict.spatial is None
