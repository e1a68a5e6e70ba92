import numpy as np
import pytest

from ablate2tune.compare.judges.boxes import Choice, choose, own_pixels, relative_depth
from ablate2tune.compare.prompts import Prompt
from ablate2tune.compare.relation_reading import Detection
from ablate2tune.compare.verdicts import give_verdict
from ablate2tune.scenes.vocabulary import OPPOSITE, caption

LABELS = ("red ball", "green ball", "blue cube")
SIZE = 100


def picked(rows: list[tuple[tuple, tuple]], threshold=0.2, overlap=0.6, min_area=1.0):
    boxes, scores = zip(*rows, strict=True)
    return choose(np.array(boxes, float), np.array(scores), threshold, overlap, min_area)


def test_one_object_has_one_label_though_several_boxes_and_labels_score():
    (only,) = picked([
        ((10, 10, 30, 30), (0.50, 0.30, 0.01)),
        ((11, 10, 31, 30), (0.20, 0.45, 0.02)),  # 19 * 20 of 420 shared: IoU 0.905
    ])  # fmt: skip
    assert only == Choice((10, 10, 30, 30), 0, 0.50, (1, 0.45))


def test_boxes_below_the_overlap_are_two_objects_of_either_label():
    # 20 x 20 each, 10 columns shared: IoU 200 / 600 = 1/3.
    left, right = ((10, 10, 30, 30), (0.5, 0.1, 0)), ((20, 10, 40, 30), (0.1, 0.4, 0))
    assert [c.label for c in picked([left, right])] == [0, 1]
    assert [c.label for c in picked([right, left])] == [0, 1], "the best score first"
    assert len(picked([left, right], overlap=0.33)) == 1
    same = ((20, 10, 40, 30), (0.4, 0.1, 0))
    assert [c.label for c in picked([left, same])] == [0, 0], "two red balls, one a duplicate"


def test_a_part_of_the_same_label_is_no_second_object_but_another_label_in_front_is():
    whole = ((0, 0, 40, 40), (0.6, 0, 0))
    assert len(picked([whole, ((10, 10, 20, 20), (0.5, 0, 0))])) == 1
    assert len(picked([whole, ((10, 10, 20, 20), (0, 0, 0.5))])) == 2


def test_low_scores_and_small_boxes_do_not_count():
    rows = [((0, 0, 10, 10), (0.3, 0, 0)), ((50, 50, 55, 55), (0.9, 0, 0))]
    assert len(picked(rows)) == 2
    assert [c.score for c in picked(rows, min_area=26)] == [0.3]
    assert [c.score for c in picked(rows, threshold=0.31)] == [0.9]
    assert picked(rows, threshold=0.95) == []
    assert picked([((5, 5, 5, 9), (0.9, 0, 0))], min_area=0.0) == [], "a box without an area"


def test_a_single_label_has_no_runner_up():
    (only,) = choose(np.array([[0.0, 0, 9, 9]]), np.array([[0.7]]), 0.2, 0.6, 1)
    assert only.runner_up is None


def test_pixels_that_only_one_box_covers():
    near, far = own_pixels([(2, 4, 8, 10), (0, 0, 6, 6)], 12, 16)
    assert near.shape == (12, 16) and near.sum() == 36 - 8 and not near[4:6, 2:6].any()
    assert far.sum() == 36 - 8 and far[0, 0] and not far[4, 2]
    inner, outer = own_pixels([(4, 4, 8, 8), (0, 0, 12, 12)], 12, 16)
    assert inner.sum() == 16, "wholly covered: all its pixels are read"
    assert outer.sum() == 144 - 16
    (sliver,) = own_pixels([(15.9, 3.2, 16, 3.4)], 12, 16)
    assert sliver.sum() == 1 and sliver[3, 15], "one pixel at least, inside the picture"


def test_depth_does_not_depend_on_scale_or_shift():
    inverse = np.linspace(0.1, 0.9, 101).reshape(1, 101)  # quantiles by hand: 0.884 and 0.116
    depth = relative_depth(inverse, 3.0)
    assert depth[0, 98] == pytest.approx(0) and depth[0, 2] == pytest.approx(3)
    assert depth[0, 50] == pytest.approx(1.5)
    assert relative_depth(7 * inverse + 40, 3.0) == pytest.approx(depth)
    assert np.isnan(relative_depth(np.full((4, 4), 0.3), 3.0)).all(), "flat"
    assert np.isnan(relative_depth(np.zeros((4, 4)), 3.0)).all()


def scene(relation: str) -> tuple[np.ndarray, list[tuple]]:
    """True inverse depth and boxes of two 1 m objects on the ground, a camera 30 degrees above.

    Ground rows from 8 m (row 0) to 3.5 m (row 99); each object has one depth.
    """
    inverse = np.linspace(1 / 8, 1 / 3.5, SIZE)[:, None].repeat(SIZE, axis=1)
    first, second = {
        "left of": (((10, 40, 35, 68), 5.0), ((60, 42, 86, 70), 5.1)),
        "in front of": (((35, 45, 65, 78), 4.4), ((40, 22, 64, 52), 5.8)),
        "on top of": (((36, 12, 64, 42), 4.6), ((35, 40, 66, 75), 5.0)),
    }[relation]
    for (left, top, right, bottom), metres in sorted((first, second), key=lambda o: -o[1]):
        inverse[top:bottom, left:right] = 1 / metres
    return inverse, [first[0], second[0]]


@pytest.mark.parametrize("relation", ["left of", "in front of", "on top of"])
@pytest.mark.parametrize("turned", [False, True])
def test_verdicts_on_hand_placed_boxes_and_depths(relation, turned):
    inverse, boxes = scene(relation)
    boxes = boxes[::-1] if turned else boxes
    depth = relative_depth(2.5 * inverse + 1.0, 3.0)
    found = [
        Detection(label, box, mask, float(np.median(depth[mask])), 0.5)
        for label, box, mask in zip(
            ("red ball", "blue cube"), boxes, own_pixels(boxes, SIZE, SIZE), strict=True
        )
    ]
    right = OPPOSITE[relation] if turned else relation
    for said in (relation, OPPOSITE[relation]):
        text = caption("red", "ball", said, "blue", "cube")
        verdict = give_verdict(Prompt(text, said, "ball", "red", "cube", "blue", 0), found)
        assert verdict.relation_read == right and verdict.spatial is (said == right)


def test_without_depth_no_relation_is_read():
    _, boxes = scene("in front of")
    masks = own_pixels(boxes, SIZE, SIZE)
    found = [
        Detection(label, box, mask, float("nan"), 0.5)
        for label, box, mask in zip(("red ball", "blue cube"), boxes, masks, strict=True)
    ]
    text = "a red ball on top of a blue cube"
    verdict = give_verdict(Prompt(text, "on top of", "ball", "red", "cube", "blue", 0), found)
    assert verdict.objects and verdict.relation_read is None and verdict.spatial is False
