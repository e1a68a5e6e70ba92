"""Pictures of the user's own keep their shape: each takes the nearest of some sizes of one area.

The sizes are those of kohya's sd-scripts (`make_bucket_resolutions`): sides in steps of 64 pixels,
from half to twice the model's own, of at most its area. A step's pictures of several sizes take a
forward pass each, so what a step sees does not depend on their shapes.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ablate2tune.models import Denoiser

Size = tuple[int, int]
"""Height and width in pixels."""
STEP = 64
"""Sides are multiples of it, in pixels: what every family's pipeline takes."""


def bucket_sizes(height: int, width: int, multiple: int) -> list[Size]:
    """The sizes that pictures may take, the model's own first.

    >>> bucket_sizes(256, 256, 16)[:5]
    [(256, 256), (128, 384), (128, 448), (128, 512), (192, 320)]

    Args:
        height: of the model's pictures, in pixels.
        width: the same.
        multiple: of which both sides are a multiple.
    """
    area, side = height * width, math.isqrt(height * width)
    step = math.lcm(STEP, multiple)
    found = [(height, width)]
    for rows in range(-(-side // 2 // step) * step, 2 * side + 1, step):
        columns = area // rows // step * step
        if side // 2 <= columns <= 2 * side:
            found += [(rows, columns), (columns, rows)]
    own, *others = dict.fromkeys(found)
    return [own, *sorted(others)]


def nearest(shape: Size, sizes: Sequence[Size]) -> Size:
    """The size whose aspect ratio is nearest to a picture's; the first of equally near ones."""
    ratio = math.log(shape[0] / shape[1])
    return min(sizes, key=lambda size: abs(math.log(size[0] / size[1]) - ratio))


@contextmanager
def at_size(denoiser: Denoiser, size: Size | None) -> Iterator[None]:
    """The denoiser works at another size than the recipe's, of which None is the name."""
    if size is None:
        yield
        return
    kept = denoiser.config
    denoiser.config = kept.model_copy(update={"height": size[0], "width": size[1]})
    try:
        yield
    finally:
        denoiser.config = kept
