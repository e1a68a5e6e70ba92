"""The pixels of detected objects by Segment Anything, asked for each box.

Segment Anything (Kirillov et al. 2023, arXiv:2304.02643) through transformers, with its published
preprocessing. With the pixels of an object alone, its own depth is known, and how much it varies:
then a distance in depth can be told in a picture of any background (`relation_reading`).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ablate2tune.compare.relation_reading import Box


@torch.no_grad()
def box_masks(
    model: Any, processor: Any, picture: np.ndarray, boxes: Sequence[Box]
) -> list[np.ndarray]:
    """The pixels of the object in each box, bool (height, width), inside the box.

    Args:
        model: a `SamModel`.
        processor: its image processor.
        picture: uint8 (height, width, 3).
        boxes: in pixels.
    """
    if not boxes:
        return []
    given = processor(images=[picture], return_tensors="pt", input_data_format="channels_last")
    sizes = given["original_sizes"], given["reshaped_input_sizes"]
    scale = float(sizes[1][0].max()) / max(picture.shape[:2])
    asked: Tensor = torch.tensor([boxes], dtype=torch.float32) * scale
    found = model(
        pixel_values=given["pixel_values"].to(model.device, model.dtype),
        input_boxes=asked.to(model.device, model.dtype),
        multimask_output=False,
    )
    whole = processor.post_process_masks(found.pred_masks.float().cpu(), *sizes)[0]
    masks = []
    for (left, top, right, bottom), seen in zip(boxes, whole[:, 0].numpy(), strict=True):
        mask = np.zeros(seen.shape, bool)
        within = slice(round(top), round(bottom)), slice(round(left), round(right))
        mask[within] = seen[within]
        masks.append(mask)
    return masks
