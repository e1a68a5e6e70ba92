"""The frame of reference: groups, captions, slacks and proof by an object's own front."""

import math
from random import Random

import numpy as np
import pytest
from blender_scripts import load_blender_script
from traced import Block, camera, trace

from ablate2tune.scenes.captions import Thing, captions
from ablate2tune.scenes.checking.claims import Claim, read_claim
from ablate2tune.scenes.checking.proof_by_front import decide_by_front, read_pose
from ablate2tune.scenes.layouts.frames import frame_of
from ablate2tune.scenes.layouts.geometry import clouds
from ablate2tune.scenes.layouts.natural import sample_natural_group
from ablate2tune.scenes.rendering.blender import worker_script
from ablate2tune.scenes.scenes_config import ScenesConfig
from ablate2tune.scenes.vocabulary import CONTRAST, DIRECTIONS

SIDES = {"in front of": 0, "left of": 90, "behind": 180, "right of": 270}
"""Degrees from the front to each side, anticlockwise from above: the left hand is at 90."""
VALUES = {
    "world": "natural", "images": 60, "holdout": 0.0, "environments": ["lawn"],
    "objects": ["ball", "car", "chair", "bench", "fireplace", "dog", "person", "bird"],
}  # fmt: skip


def config(**changes):
    return ScenesConfig.model_validate({**VALUES, **changes})


def side_of(group, twin):
    """The side of the second object on which the first stands, from places and yaw alone."""
    one, other = (twin["places"][twin[role]] for role in ("subject", "object"))
    turn = math.degrees(math.atan2(one["y"] - other["y"], one["x"] - other["x"]))
    front = group["objects"][twin["object"]]["yaw"] - 90  # -y, turned by the yaw
    off = (turn - front) % 360
    return min(SIDES, key=lambda side: abs((off - SIDES[side] + 180) % 360 - 180))


def test_the_first_stands_where_the_front_says():
    yaws = []
    for index in range(24):
        group = sample_natural_group(config(frame="object"), 3, index, 0, "train")
        one, two = group["twins"]
        if one["relation"] not in DIRECTIONS:
            assert one["frame"] == one["record"]["frame"] == "camera"
            continue
        assert [t["record"]["frame"] for t in (one, two)] == ["object", "object"]
        assert two["relation"] == CONTRAST[one["relation"]]
        assert [side_of(group, t) for t in (one, two)] == [one["relation"], two["relation"]]
        second = group["objects"]["b"]
        assert second["has_front"] and second["kind"] != "ball"
        assert (second["kind"], second["variant"]) not in [("bench", "plain"), ("bench", "stone")]
        if second["kind"] != "fireplace":
            yaws.append(second["yaw"])
        else:
            assert abs(second["yaw"]) <= 60
    assert min(yaws) < -90 and max(yaws) > 90


def test_both_frames_take_turns():
    both = config(frame="both", relations=list(DIRECTIONS))
    assert [frame_of(both, i) for i in range(10)] == ["camera"] * 4 + ["object"] * 4 + [
        "camera"
    ] * 2
    assert frame_of(config(), 0) is None


def test_the_cameras_frame_says_nothing_by_default():
    group = sample_natural_group(config(), 3, 0, 0, "train")
    assert "frame" not in group["twins"][0] and "frame" not in group["twins"][0]["record"]
    assert not any("has_front" in made for made in group["objects"].values())


CAT, CAR = Thing("cat", "grey"), Thing("car", "red")


def said(frame, relation="left of", seed=0):
    return captions(relation, [CAT, CAR], "blue", Thing("dog", "grey"), Random(seed), frame)


def test_captions_say_whose_left_is_meant():
    own, view, usual = said("object"), said("camera"), said(None)
    assert own["text"] == "a grey cat left of a red car from the car's point of view"
    assert own["foil"] == "a grey cat right of a red car from the car's point of view"
    assert own["foil_swapped"] == own["foil"]
    assert own["foil_colour"] == "a blue cat left of a red car from the car's point of view"
    assert own["text_bare"] == "a cat left of a car from the car's point of view"
    assert view["text"] == "a grey cat left of a red car as seen in the picture"
    assert view["foil_swapped"] == "a red car left of a grey cat as seen in the picture"
    assert own["pair_text"] == view["pair_text"] == usual["pair_text"]
    assert usual["text"] == "a grey cat left of a red car"
    assert said("camera", "next to")["text"] == "a grey cat next to a red car"


def test_natural_captions_of_an_own_front():
    ends = ("the car's point of view", "on the side that a red car faces")
    natural = {said("object", "in front of", seed)["text_natural"] for seed in range(40)}
    assert all(text.endswith(ends) for text in natural)
    assert any(text.endswith(ends[1]) for text in natural) and len(natural) > 4


THERE = {"subject": {"kind": "cat", "colour": "grey"}, "object": {"kind": "car", "colour": "red"}}


def test_claims_know_their_frame():
    labels = ("subject", "object")
    assert read_claim(said("object")["text"], THERE) == Claim("left of", labels, "object")
    assert read_claim(said("camera")["text"], THERE) == Claim("left of", labels, "camera")
    assert read_claim(said("object")["foil_object"], THERE) is None
    with pytest.raises(ValueError, match="relates to no cat"):
        read_claim("a grey cat left of a red car from the cat's point of view", THERE)


def test_slacks_by_hand(monkeypatch):
    monkeypatch.syspath_prepend(worker_script().parent)
    own = load_blender_script("own_frame")
    # The second is 2 deep and 1 wide and faces +x (its mesh's -y turned by 90 degrees); its left
    # is then +y. The first is a unit cube whose nearer side is 0.5 in front of it.
    corners = [(x, y, z) for x in (-1, 1) for y in (-0.5, 0.5) for z in (0, 2)]
    cube = [(1.5 + x, 0.25 + y, z) for x in (0, 1) for y in (-0.5, 0.5) for z in (0, 1)]
    turn = math.radians(90)
    assert own.front(turn) == pytest.approx((1, 0))
    second, first = own.own_extents(corners, turn), own.own_extents(cube, turn)
    assert second.ahead == pytest.approx((-1, 1)) and second.left == pytest.approx((-0.5, 0.5))
    view = type("View", (), {"visible": 0.8})
    slacks = own.own_slacks("in front of", first, second, (view, view))
    assert slacks == pytest.approx({
        "own_gap": 0.5 - 0.03, "own_near": (1 + 2) / 2 - 0.5, "own_lane": 0.75 - 0.5,
        "same_height": 1.0, "first_visible": 0.05, "second_visible": 0.2,
    })  # fmt: skip
    assert own.own_slacks("behind", first, second, (view, view))["own_gap"] < -2
    assert own.own_slacks("left of", first, second, (view, view))["own_gap"] < -0.5
    beside = own.own_extents([(x, y + 2, z) for x, y, z in corners], turn)
    assert own.own_slacks("left of", beside, second, (view, view))["own_gap"] == pytest.approx(0.97)


@pytest.mark.parametrize("azimuth", [0.0, 30.0])
@pytest.mark.parametrize("yaw", [0, 65, 140, 230])
@pytest.mark.parametrize("relation", SIDES)
def test_proof_by_front(azimuth, yaw, relation):
    """A traced block at each side of another that is told to face somewhere."""
    turn = math.radians(yaw - 90 + SIDES[relation])
    at = (0.3 + 1.0 * math.cos(turn), 1.0 * math.sin(turn))
    bodies = {
        "subject": [Block(*at, 0, 0.4, 0.4, 0.4)],
        "object": [Block(0.3, 0, 0, 0.7, 0.7, 0.5)],
    }
    view = camera(elevation=35.0, azimuth=azimuth)
    mask, depth = trace(bodies, view)
    seen = clouds(mask, depth, view, {"subject": 1, "object": 2})
    front = [math.cos(math.radians(yaw - 90)), math.sin(math.radians(yaw - 90))]
    pose = read_pose({"x": 0.3, "y": 0.0, "front": front}, view)
    found = {
        side: decide_by_front(side, seen["subject"], seen["object"], pose).verdict for side in SIDES
    }
    assert found[relation] == "confirmed"
    assert found[CONTRAST[relation]] == "contradicted"


def test_a_pose_without_a_front():
    with pytest.raises(KeyError, match="front"):
        read_pose({"x": 0, "y": 0}, camera())


def test_a_thing_that_cannot_be_seen():
    pose = read_pose({"x": 0, "y": 0, "front": [0, -1]}, camera())
    assert decide_by_front("behind", None, None, pose).verdict == "contradicted"
    assert np.allclose(pose.front, [0, -1])


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"world": "plain", "objects": ["ball"], "environments": ["plain"]}, "needs world: nat"),
        ({"relations": ["above", "below"]}, "frame: object needs one of the relations left of"),
    ],
)
def test_what_a_recipe_may_not_say_of_frames(changes, message):
    with pytest.raises(ValueError, match=message):
        config(frame="object", **changes)
