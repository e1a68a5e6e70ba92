"""The picture of all arms side by side: a few prompts, drawn by seed before any is judged."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ablate2tune import files
from ablate2tune.compare.prompts import Prompt
from ablate2tune.compare.shown import Shown
from ablate2tune.compare.verdicts import Verdict
from ablate2tune.pictures import png
from ablate2tune.seeding import numpy_generator

UPSCALE = 3
SMALL, LARGE = 192, 384
"""Pictures up to SMALL pixels wide are enlarged, those wider than LARGE are reduced to it."""
PAGE = 4
"""Pictures side by side, at most where that leaves a prompt whole."""
MARGIN, GAP, GUTTER = 24, 6, 32
"""Pixels around everything, between arms, between prompts."""
HEADER, TITLE, MARK, BETWEEN = 30, 26, 24, 16
"""Heights in pixels: column names, a prompt, a verdict, the space between rows."""
INK, PALE, RIGHT, WRONG = "#1a1a1a", "#666666", "#1a7f37", "#b42318"
CAPTION = (
    "Same prompt and seed in all arms. Prompts drawn by seed before any picture was {}. "
    "Pairs of objects that no training picture of the data set shows. {}"
)
JUDGED = ("judged", "Marks: the judge's reading.")
UNJUDGED = ("made", "No judge has read the pictures.")


def choose_rows(prompts: Sequence[Prompt], count: int, seed: int) -> list[int]:
    """Positions of the grid's prompts: the relations take turns, drawn within each by seed.

    Knows nothing of the results.
    """
    rng = numpy_generator(seed, "grid")
    queues = []
    for relation in dict.fromkeys(prompt.relation for prompt in prompts):
        own = [i for i, prompt in enumerate(prompts) if prompt.relation == relation]
        queues.append([own[i] for i in rng.permutation(len(own))])
    turns = itertools.chain.from_iterable(itertools.zip_longest(*queues))
    return [i for i in turns if i is not None][:count]


def draw_grid(rows: Sequence[Mapping[str, Shown]], path: Path, remark: str | None = None) -> None:
    """Draw prompts with their pictures in every arm, a verdict below each where there is one.

    `rows` holds each prompt's picture by arm, one prompt at least; `remark` is added to the
    caption, for what a reader of the marks must know.
    """
    arms = list(rows[0])
    judged = all(shown.verdict is not None for row in rows for shown in row.values())
    across = min(max(1, PAGE // len(arms)), len(rows))
    deep = -(-len(rows) // across)
    height, width = rows[0][arms[0]].pixels().shape[:2]
    cell = width * UPSCALE if width <= SMALL else min(width, LARGE)
    tile = round(height * cell / width)
    block = len(arms) * (cell + GAP) - GAP
    page_width = 2 * MARGIN + across * block + (across - 1) * GUTTER
    row_height = TITLE + tile + MARK * judged + BETWEEN
    caption = CAPTION.format(*(JUDGED if judged else UNJUDGED))
    if remark:
        caption = f"{caption} {remark[0].upper()}{remark[1:]}."
    note = _wrapped(caption, _font(13), page_width - 2 * MARGIN)
    page_height = MARGIN + HEADER + deep * row_height + 18 * len(note) + MARGIN
    page = Image.new("RGB", (page_width, page_height), "white")
    draw = ImageDraw.Draw(page)
    for column in range(across):
        left = MARGIN + column * (block + GUTTER)
        for side, name in enumerate(arms):
            middle = left + side * (cell + GAP) + cell / 2
            draw.text((middle, MARGIN + 8), name, PALE, _fitted(name, cell, bold=True), anchor="mm")
    for number, row in enumerate(rows):
        left = MARGIN + (number % across) * (block + GUTTER)
        top = MARGIN + HEADER + (number // across) * row_height
        text = row[arms[0]].prompt.text
        draw.text((left, top + TITLE / 2), text, INK, _fitted(text, block), anchor="lm")
        for side, shown in enumerate(row.values()):
            x = left + side * (cell + GAP)
            how = Image.Resampling.NEAREST if cell >= width else Image.Resampling.LANCZOS
            picture = Image.fromarray(shown.pixels()).resize((cell, tile), how)
            page.paste(picture, (x, top + TITLE))
            if shown.verdict is None:
                continue
            words = reading(shown.prompt, shown.verdict)
            colour = RIGHT if shown.verdict.spatial else WRONG
            draw.text((x, top + TITLE + tile + MARK / 2), words, colour,
                      _fitted(words, cell), anchor="lm")  # fmt: skip
    for number, line in enumerate(note):
        y = page_height - MARGIN - 18 * (len(note) - number)
        draw.text((MARGIN, y), line, PALE, _font(13))
    files.write_bytes(path, png(np.asarray(page)))


def reading(prompt: Prompt, verdict: Verdict) -> str:
    """A verdict in a few words: "✓ left of", "✗ right of", "✗ no blue cube"."""
    if verdict.spatial:
        return f"✓ {verdict.relation_read}"
    if verdict.objects:
        return f"✗ {verdict.relation_read or 'no clear relation'}"
    if verdict.subject_found:
        return f"✗ no {prompt.object_label}"
    return f"✗ no {prompt.subject_label}" if verdict.object_found else "✗ neither object"


def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans as matplotlib ships it: it has the marks, on every machine."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)


def _fitted(words: str, width: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The largest font, of 9 to 16 pixels, in which the words fit the width."""
    fonts = (_font(size, bold) for size in range(16, 9, -1))
    return next((font for font in fonts if font.getlength(words) <= width), _font(9, bold))


def _wrapped(words: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
