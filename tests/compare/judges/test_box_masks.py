"""The pixels of boxes, by a stand-in for Segment Anything whose answer is known."""

from types import SimpleNamespace

import numpy as np
import torch
from transformers import SamImageProcessorPil

from ablate2tune.compare.judges.box_masks import box_masks


class LeftHalf:
    """Says of every box that the left half of the padded 1024 x 1024 pixels is its object."""

    device, dtype = torch.device("cpu"), torch.float32

    def __call__(self, pixel_values, input_boxes, multimask_output):
        self.shape, self.boxes = pixel_values.shape, input_boxes
        seen = torch.full((1, input_boxes.shape[1], 1, 256, 256), -1.0)
        seen[..., :128] = 1.0
        return SimpleNamespace(pred_masks=seen)


def test_masks_lie_in_their_boxes_and_in_pixels_of_the_picture():
    picture = np.zeros((48, 64, 3), np.uint8)
    model, boxes = LeftHalf(), [(20.0, 10.0, 40.0, 30.0), (40.0, 0.0, 60.0, 48.0)]
    one, other = box_masks(model, SamImageProcessorPil(), picture, boxes)
    assert model.shape == (1, 3, 1024, 1024)
    # 1024 pixels of the model for 64 of the picture.
    assert model.boxes[0].tolist() == [[320, 160, 640, 480], [640, 0, 960, 768]]
    expected = np.zeros((48, 64), bool)
    expected[10:30, 20:32] = True
    assert (one == expected).all() and not other.any()
    assert box_masks(model, SamImageProcessorPil(), picture, []) == []
