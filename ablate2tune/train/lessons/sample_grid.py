"""Grids of sampled pictures with their prompts underneath."""

import math
import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ablate2tune.pictures import png

COLUMNS = 3
SMALLEST = 192
"""Pictures below this width are enlarged by a whole factor, so that prompts stay legible."""
FONT_SIZE, LINE, MARGIN = 13, 16, 8


def sample_grid(images: np.ndarray, prompts: Sequence[str]) -> bytes:
    """A PNG of pictures, uint8 (batch, height, width, 3), with a prompt each, three to a row."""
    scale = max(1, math.ceil(SMALLEST / images.shape[2]))
    height, width = images.shape[1] * scale, images.shape[2] * scale
    font = ImageFont.load_default(FONT_SIZE)
    letters = max(8, width // (FONT_SIZE // 2))
    captions = [textwrap.wrap(prompt, letters) or ["(no prompt)"] for prompt in prompts]
    cell = height + LINE * max(len(lines) for lines in captions) + MARGIN
    columns = min(COLUMNS, len(prompts))
    rows = math.ceil(len(prompts) / columns)
    size = (columns * (width + MARGIN) + MARGIN, rows * (cell + MARGIN) + MARGIN)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for index, (pixels, lines) in enumerate(zip(images, captions, strict=True)):
        left = MARGIN + index % columns * (width + MARGIN)
        top = MARGIN + index // columns * (cell + MARGIN)
        picture = Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST)
        sheet.paste(picture, (left, top))
        for number, line in enumerate(lines):
            draw.text((left, top + height + 4 + LINE * number), line, fill="black", font=font)
    return png(np.asarray(sheet))
