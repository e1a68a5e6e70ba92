import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from placing import LABELS

from ablate2tune.compare.judges import check_judge, load_judge
from ablate2tune.compare.judges.trained import detections
from ablate2tune.errors import UserError


def test_random_judge_has_the_documented_shapes(judge_folder):
    judge = load_judge(judge_folder)
    assert judge.labels == LABELS
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 48, 3), dtype=np.uint8)
    found = judge.detect(images, batch_size=2)
    assert len(found) == 5 and any(found), "a loud random judge sees something"
    for detection in (d for per_image in found for d in per_image):
        assert detection.label in LABELS
        assert detection.mask.shape == (32, 48) and detection.mask.dtype == bool
        assert detection.area >= 0.02
        left, top, right, bottom = detection.box
        assert 0 <= left < right <= 48 and 0 <= top < bottom <= 32
        assert 1 / 7 <= detection.score <= 1, "the mean probability of the largest of 7 classes"
    assert judge.describe()["settings"]["depth_scale"] == 2.0


class ByColour(torch.nn.Module):
    """Red pixels are a red ball, blue ones a blue cube; depth is the green channel."""

    def forward(self, pixel_values):
        red, green, blue = pixel_values.unbind(1)
        logits = torch.full((len(red), 8, *red.shape[1:]), -9.0)
        logits[:, 0] = 0.0
        logits[:, 1] = torch.where(red > 0.5, 9.0, -9.0)
        logits[:, 6] = torch.where(blue > 0.5, 9.0, -9.0)
        logits[:, 7] = green
        return SimpleNamespace(logits=logits)


def test_pixels_are_scaled_and_depth_is_in_metres(judge_folder):
    judge = load_judge(judge_folder)
    judge._model = ByColour()
    image = np.zeros((1, 20, 20, 3), np.uint8)
    image[0, 2:10, 1:7] = (255, 255, 0)
    image[0, 5:18, 12:19] = (0, 0, 255)
    cube, ball = judge.detect(image)[0]
    # Green 255 is +1 and green 0 is -1 after scaling; metres = 2 * value + 5.
    assert (ball.label, ball.box, ball.depth) == ("red ball", (1, 2, 7, 10), 7.0)
    assert (cube.label, cube.box, cube.depth) == ("blue cube", (12, 5, 19, 18), 3.0)
    assert ball.area == 8 * 6 / 400 and cube.area == 13 * 7 / 400
    # Softmax over 7 classes: e^9 against one zero and five times -9.
    assert ball.score == pytest.approx(np.exp(9) / (np.exp(9) + 1 + 5 * np.exp(-9)), abs=1e-5)


def test_low_resolution_logits_are_enlarged(judge_folder):
    class Coarse(torch.nn.Module):
        def forward(self, pixel_values):
            logits = torch.full((1, 8, 4, 4), -9.0)
            logits[:, 0] = 1.0
            logits[:, 3] = 0.0
            logits[:, 3, :, 2:] = 2.0
            return SimpleNamespace(logits=logits)

    judge = load_judge(judge_folder)
    judge._model = Coarse()
    (found,) = judge.detect(np.zeros((1, 16, 16, 3), np.uint8))[0]
    # Between the columns' centres at 5.5 and 9.5 the logit rises from 0 to 2 and crosses 1 at 7.5:
    # pixel column 7 has it at (7 - 5.5) / 4 * 2 = 0.75, column 8 at 1.25.
    assert (found.label, found.box) == ("green ball", (8, 0, 16, 16))


def test_connected_parts_are_separate_and_small_ones_are_left_out():
    probability = np.zeros((3, 10, 10))
    probability[0] = 0.4
    probability[1, 1:4, 1:4] = 0.6
    probability[1, 4, 4] = 0.5  # touches by a corner
    probability[1, 7:9, 7:9] = 0.9
    probability[2, 9, 0] = 0.9  # one pixel
    depth = np.tile(np.arange(10.0), (10, 1))
    large, small = detections(probability, depth, ["red ball", "blue cube"], min_area=0.04)
    assert (large.label, large.box, large.mask.sum()) == ("red ball", (1, 1, 5, 5), 10)
    assert (small.label, small.box, small.mask.sum()) == ("red ball", (7, 7, 9, 9), 4)
    assert large.score == pytest.approx((9 * 0.6 + 0.5) / 10)
    assert large.depth == 2.0 and small.depth == 7.5
    assert len(detections(probability, depth, ["red ball", "blue cube"], min_area=0.05)) == 1


def test_a_connected_part_of_one_colour_is_one_object_of_its_likeliest_kind():
    labels = ["red ball", "red cube", "blue ball", "blue cube"]
    probability = np.zeros((5, 10, 10))
    probability[0] = 0.7
    probability[:, 2:5, 2:8] = np.array([0.3, 0.4, 0.3, 0, 0]).reshape(5, 1, 1)  # red by the sum
    probability[:, 5:9, 2:8] = np.array([0, 0.2, 0.7, 0.1, 0]).reshape(5, 1, 1)
    probability[:, 5:9, 8:] = np.array([0, 0, 0, 0.6, 0.4]).reshape(5, 1, 1)
    red, blue = detections(probability, np.ones((10, 10)), labels, min_area=0.02)
    assert (red.label, red.box) == ("red cube", (2, 2, 8, 9))
    assert red.score == pytest.approx((3 * 0.3 + 4 * 0.7) / 7)
    assert (blue.label, blue.box, blue.score) == ("blue ball", (8, 5, 10, 9), pytest.approx(0.6))


def test_bad_judges(tmp_path, judge_folder):
    with pytest.raises(UserError, match="no judge is set"):
        load_judge(None)
    with pytest.raises(UserError, match="no such judge"):
        check_judge(tmp_path / "absent")
    with pytest.raises(UserError, match=r"judge\.json: no such file"):
        check_judge(tmp_path)
    check_judge(judge_folder)
    broken = tmp_path / "broken"
    shutil.copytree(judge_folder, broken)
    settings = json.loads((broken / "judge.json").read_text())
    (broken / "judge.json").write_text(json.dumps({**settings, "depth_scale": "two"}))
    with pytest.raises(UserError, match="depth_scale is missing or no number"):
        load_judge(broken)
    (broken / "judge.json").write_text(json.dumps({**settings, "schema": "other/1"}))
    with pytest.raises(UserError, match="not a judge of schema"):
        load_judge(broken)
    (broken / "judge.json").write_text(json.dumps(settings))
    config = json.loads((broken / "config.json").read_text())
    config["id2label"]["7"] = "chair"
    config["label2id"] = {name: int(index) for index, name in config["id2label"].items()}
    (broken / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="channels must be background, the labels, depth"):
        load_judge(broken)
    (broken / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(UserError, match="cannot load the judge"):
        load_judge(broken)
