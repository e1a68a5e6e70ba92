"""Weights in few bits: numbers, and scales by which they are multiplied.

A weight is (outputs, inputs). Scales are in the weight's own dtype, and the numbers are rounded
with the scales as they are kept, so that no row is off as a whole.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

BLOCK = 64
"""Weights that share a scale in nf4, QLoRA's."""
NF4 = (
    -1.0, -0.6961928, -0.52507305, -0.39491749, -0.28444138, -0.18477343, -0.09105004, 0.0,
    0.0795803, 0.1609302, 0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1.0,
)  # fmt: skip
"""Quantiles of a normal distribution, scaled to [-1, 1] (Dettmers et al. 2023, arXiv:2305.14314,
appendix E)."""
INT8, FP8 = 127.0, 448.0
"""The largest numbers of both."""


class SmallWeights(NamedTuple):
    """A way to store a weight."""

    encode: Callable[[Tensor], tuple[Tensor, Tensor]]
    """Numbers and scales."""
    decode: Callable[[Tensor, Tensor], Tensor]
    """The weight again, in the scales' dtype."""
    multiple: int = 1
    """Of which a layer's inputs must be."""


def _scales(largest: Tensor, most: float) -> Tensor:
    """So that the largest of each row becomes `most`; 1 for rows of zeros."""
    scales = (largest.float() / most).to(largest.dtype)
    return torch.where(scales > 0, scales, torch.ones_like(scales))


def _to_int8(weight: Tensor) -> tuple[Tensor, Tensor]:
    scales = _scales(weight.abs().amax(1, keepdim=True), INT8)
    numbers = (weight.float() / scales.float()).round().clamp(-INT8, INT8)
    return numbers.to(torch.int8), scales


def _of_int8(numbers: Tensor, scales: Tensor) -> Tensor:
    return numbers * scales


def _to_fp8(weight: Tensor) -> tuple[Tensor, Tensor]:
    scales = _scales(weight.abs().amax(1, keepdim=True), FP8)
    numbers = (weight.float() / scales.float()).clamp(-FP8, FP8).to(torch.float8_e4m3fn)
    # As bytes: whoever asks a model for its dtype should not be told of eight bits.
    return numbers.view(torch.uint8), scales


def _of_fp8(numbers: Tensor, scales: Tensor) -> Tensor:
    return numbers.view(torch.float8_e4m3fn).to(scales.dtype) * scales


def _to_nf4(weight: Tensor) -> tuple[Tensor, Tensor]:
    blocks = weight.reshape(len(weight), -1, BLOCK)
    scales = _scales(blocks.abs().amax(2), 1.0)
    levels = torch.tensor(NF4, device=weight.device)
    between = (levels[1:] + levels[:-1]) / 2
    places = torch.bucketize(blocks.float() / scales.float()[:, :, None], between)
    pairs = places.to(torch.uint8).reshape(len(weight), -1, 2)
    return pairs[:, :, 0] * 16 + pairs[:, :, 1], scales


def _of_nf4(numbers: Tensor, scales: Tensor) -> Tensor:
    levels = torch.tensor(NF4, dtype=scales.dtype, device=scales.device)
    pairs = torch.cartesian_prod(levels, levels)
    blocks = F.embedding(numbers.int(), pairs).reshape(*scales.shape, BLOCK)
    return (blocks * scales[:, :, None]).flatten(1)


SMALL = {
    "int8": SmallWeights(_to_int8, _of_int8),
    "fp8": SmallWeights(_to_fp8, _of_fp8),
    "nf4": SmallWeights(_to_nf4, _of_nf4, multiple=BLOCK),
}
