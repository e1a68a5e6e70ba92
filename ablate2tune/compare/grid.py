"""The before/after picture: a few prompts, drawn by seed before any picture is judged."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ablate2tune.compare.prompts import Prompt
from ablate2tune.compare.verdicts import Verdict
from ablate2tune.seeding import numpy_generator

UPSCALE = 3
SMALL, LARGE = 192, 384
"""Pictures up to SMALL pixels wide are enlarged, those wider than LARGE are reduced to it."""
ACROSS = 2
"""Prompts side by side."""
MARGIN, GAP, GUTTER = 24, 6, 32
"""Pixels around everything, between before and after, between prompts."""
HEADER, TITLE, MARK, BETWEEN = 30, 26, 24, 16
"""Heights in pixels: column names, a prompt, a verdict, the space between rows."""
INK, PALE, RIGHT, WRONG = "#1a1a1a", "#666666", "#1a7f37", "#b42318"
CAPTION = (
    "Same prompt and seed in both pictures. Prompts drawn by seed before any picture was {}. "
    "Pairs of objects that training never showed. {}"
)
JUDGED = ("judged", "Marks: the judge's reading.")
UNJUDGED = ("made", "No judge has read the pictures.")


@dataclass(frozen=True)
class Pair:
    """One prompt's picture in both arms, uint8 (height, width, 3), with the verdicts, if any."""

    prompt: Prompt
    before: np.ndarray
    after: np.ndarray
    before_verdict: Verdict | None
    after_verdict: Verdict | None


def choose_rows(prompts: Sequence[Prompt], count: int, seed: int) -> list[int]:
    """Positions of the grid's prompts: the relations take turns, drawn within each by seed.

    Knows nothing of the results.
    """
    rng = numpy_generator(seed, "grid")
    relations = list(dict.fromkeys(prompt.relation for prompt in prompts))
    queues = []
    for relation in relations:
        own = [i for i, prompt in enumerate(prompts) if prompt.relation == relation]
        queues.append([own[i] for i in rng.permutation(len(own))])
    turns = [
        queue[depth] for depth in range(len(prompts)) for queue in queues if depth < len(queue)
    ]
    return turns[:count]


def draw_grid(pairs: Sequence[Pair], path: Path, remark: str | None = None) -> None:
    """Draw prompts with their pictures before and after, a verdict below each where there is one.

    Args:
        pairs: at least one; all with verdicts, or none.
        path: the PNG.
        remark: added to the caption, for what a reader of the marks must know.
    """
    judged = all(pair.before_verdict and pair.after_verdict for pair in pairs)
    across = min(ACROSS, len(pairs))
    rows = -(-len(pairs) // across)
    height, width = pairs[0].before.shape[:2]
    cell = width * UPSCALE if width <= SMALL else min(width, LARGE)
    tile = round(height * cell / width)
    block = 2 * cell + GAP
    page_width = 2 * MARGIN + across * block + (across - 1) * GUTTER
    row_height = TITLE + tile + MARK * judged + BETWEEN
    caption = CAPTION.format(*(JUDGED if judged else UNJUDGED))
    if remark:
        caption = f"{caption} {remark[0].upper()}{remark[1:]}."
    note = _wrapped(caption, _font(13), page_width - 2 * MARGIN)
    page_height = MARGIN + HEADER + rows * row_height + 18 * len(note) + MARGIN
    page = Image.new("RGB", (page_width, page_height), "white")
    draw = ImageDraw.Draw(page)
    for column in range(across):
        left = MARGIN + column * (block + GUTTER)
        for side, name in enumerate(("before", "after")):
            middle = left + side * (cell + GAP) + cell / 2
            draw.text((middle, MARGIN + 8), name, PALE, _font(16, bold=True), anchor="mm")
    for number, pair in enumerate(pairs):
        left = MARGIN + (number % across) * (block + GUTTER)
        top = MARGIN + HEADER + (number // across) * row_height
        draw.text((left, top + TITLE / 2), pair.prompt.text, INK,
                  _fitted(pair.prompt.text, block), anchor="lm")  # fmt: skip
        for side, (image, verdict) in enumerate(
            ((pair.before, pair.before_verdict), (pair.after, pair.after_verdict))
        ):
            x = left + side * (cell + GAP)
            how = Image.Resampling.NEAREST if cell >= width else Image.Resampling.LANCZOS
            page.paste(Image.fromarray(image).resize((cell, tile), how), (x, top + TITLE))
            if verdict is None:
                continue
            words = reading(pair.prompt, verdict)
            colour = RIGHT if verdict.spatial else WRONG
            draw.text((x, top + TITLE + tile + MARK / 2), words, colour,
                      _fitted(words, cell), anchor="lm")  # fmt: skip
    for number, line in enumerate(note):
        y = page_height - MARGIN - 18 * (len(note) - number)
        draw.text((MARGIN, y), line, PALE, _font(13))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    page.save(temporary, format="PNG")
    temporary.replace(path)


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


def _fitted(words: str, width: int, largest: int = 16, smallest: int = 9) -> ImageFont.FreeTypeFont:
    """The largest font in which the words fit the width."""
    for size in range(largest, smallest, -1):
        if _font(size).getlength(words) <= width:
            return _font(size)
    return _font(smallest)


def _wrapped(words: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
