import math

import numpy as np
import pytest
from traced import FOCAL, SIZE, Block, camera, crate, trace

from ablate2tune.errors import UserError
from ablate2tune.scenes.layouts.geometry import (
    FORWARD,
    RIGHT,
    UP,
    clouds,
    columns_shared,
    distance,
    drops,
    shared,
    surrounded,
)


def seen(bodies, **view):
    view = camera(**view)
    mask, depth = trace(bodies, view)
    return clouds(mask, depth, view, {label: i for i, label in enumerate(bodies, start=1)})


@pytest.mark.parametrize("azimuth", [0, 30])
def test_the_extents_of_a_block_are_found_again(azimuth):
    turn = math.radians(azimuth)
    x, y = 0.4 * math.cos(turn), 0.4 * math.sin(turn)  # 0.4 m right, in the camera's frame
    block = Block(x, y, 0.0, 0.6, 0.6, 0.8)
    cloud = seen({"a": [block]}, azimuth=azimuth)["a"]
    half = 0.3 * (abs(math.cos(turn)) + abs(math.sin(turn)))
    pixel = 7.5 / FOCAL
    assert cloud.middle[RIGHT] == pytest.approx(0.4, abs=pixel)
    assert cloud.extent[RIGHT] == pytest.approx(2 * half, abs=2 * pixel)
    assert cloud.low[UP] == pytest.approx(0, abs=pixel)
    assert cloud.high[UP] == pytest.approx(0.8, abs=pixel)
    assert cloud.low[FORWARD] == pytest.approx(-half, abs=pixel)
    assert cloud.pitch == pytest.approx(7.0 / FOCAL, rel=0.1)


def test_distances_and_shared_lengths():
    pair = seen({"a": [Block(-0.8, 0, 0, 0.6, 0.6, 0.6)], "b": [Block(0.4, 0, 0, 0.8, 0.6, 0.3)]})
    a, b, pixel = pair["a"], pair["b"], 7 / FOCAL
    assert distance(a, b) == pytest.approx(0.5, abs=1.5 * pixel)
    assert shared(a, b, RIGHT) == pytest.approx(-0.5, abs=1.5 * pixel)
    assert shared(a, b, UP) == pytest.approx(0.3, abs=1.5 * pixel)
    assert columns_shared(a, b) == pytest.approx(-0.5 / 0.6, abs=0.2)


def test_what_lies_right_below():
    on = seen({"a": [Block(0, 0, 0.5, 0.4, 0.4, 0.4)], "b": [Block(0, 0, 0, 1, 1, 0.5)]})
    below = drops(on["a"], on["b"])
    assert not np.isnan(below).any() and (below >= 0).all() and below.max() < 0.1
    off = seen({"a": [Block(0, -2, 0, 0.4, 0.4, 0.4)], "b": [Block(0, 1, 0, 1, 1, 0.5)]})
    assert np.isnan(drops(off["a"], off["b"])).all()
    put_in = seen({"a": [Block(0, 0, 0.04, 0.4, 0.4, 0.4)], "b": crate(0, 0)}, elevation=30)
    assert (drops(put_in["a"], put_in["b"]) < 0).all()
    assert surrounded(put_in["a"], put_in["b"]) >= 7 / 8
    assert surrounded(off["a"], off["b"]) <= 3 / 8


def test_what_has_no_depth_has_no_point():
    view = camera()
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[3, 3:7] = 1
    depth = np.zeros((SIZE, SIZE))
    depth[3, 5], depth[3, 6] = 2.0, 65.535
    (cloud,) = clouds(mask, depth, view, {"a": 1, "b": 2}).values()
    assert cloud.pixels.tolist() == [[3, 5]]


def test_bad_input():
    view = camera()
    flat = np.zeros((4, 4))
    with pytest.raises(UserError, match=r"the mask is \(4, 4\), but the depth map \(4, 5\)"):
        clouds(flat, np.zeros((4, 5)), view, {})
    with pytest.raises(UserError, match=r"the camera is incomplete .*intrinsics"):
        clouds(flat, flat, {"camera_to_world": view["camera_to_world"]}, {})
    with pytest.raises(UserError, match="needs a 3 x 3 and a 4 x 4 matrix"):
        clouds(flat, flat, {**view, "intrinsics": [[1, 0], [0, 1]]}, {})
