"""All arms side by side: what changed over all prompts, then some, drawn before any is judged."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ablate2tune import files
from ablate2tune.compare.grid.changes import Changes
from ablate2tune.compare.grid.lettering import fitted, font_of, wrapped
from ablate2tune.compare.prompts import Prompt
from ablate2tune.compare.shown import Shown
from ablate2tune.compare.verdicts import Verdict
from ablate2tune.pictures import png
from ablate2tune.scenes.vocabulary import RELATIONS
from ablate2tune.seeding import numpy_generator

SMALLEST, LARGEST = 192, 384
"""Pixels: narrower pictures are enlarged by a whole factor to this width at least, wider ones than
LARGEST are reduced to it."""
PAGE = 4
"""Pictures side by side, at most where that leaves a prompt whole."""
MARGIN, GAP, GUTTER, BETWEEN = 24, 8, 32, 22
"""Pixels around everything, between arms, between prompts, between rows."""
FRAME, PLATE = 4, 26
"""Pixels of a judged picture's coloured frame, and of the plate below that says what is seen."""
TITLE, HEADER = 28, 30
"""Heights of a prompt, and of the names of the arms."""
BAR, HEADLINE = 22, 104
"""Heights of the bar of what changed, and of all that is said of an arm at the top."""
INK, PALE, LIGHT = "#1a1a1a", "#666666", "#d0d0d0"
RIGHT, WRONG, STAYED = "#1a7f37", "#b42318", "#a9d3b4"
"""Right, wrong, and right in both."""
NOTE = 13
"""Size of the letters at the foot."""
CAPTION = (
    "Same prompt and seed side by side. These {} of {} prompts were drawn by seed before any "
    "picture was {}; no training picture of the data set shows their pairs of objects. {}"
)
JUDGED = "Marks: the judge's reading."
UNJUDGED = "No judge has read the pictures."


def choose_rows(prompts: Sequence[Prompt], count: int, seed: int) -> list[int]:
    """Positions of the grid's prompts: as many of each relation, drawn within each by seed.

    Knows nothing of the results. Relations come in the order of the vocabulary, each one's prompts
    together.
    """
    rng = numpy_generator(seed, "grid")
    queues = []
    for relation in dict.fromkeys(prompt.relation for prompt in prompts):
        own = [i for i, prompt in enumerate(prompts) if prompt.relation == relation]
        queues.append([own[i] for i in rng.permutation(len(own))])
    turns = itertools.chain.from_iterable(itertools.zip_longest(*queues))
    chosen = [i for i in turns if i is not None][:count]
    return sorted(chosen, key=lambda i: RELATIONS.index(prompts[i].relation or RELATIONS[0]))


def draw_grid(
    rows: Sequence[Mapping[str, Shown]],
    path: Path,
    *,
    changed: Mapping[str, tuple[Changes, Changes]] | None = None,
    prompts: int | None = None,
    remark: str | None = None,
) -> None:
    """Draw prompts with their pictures in every arm, framed and marked where a judge read them.

    Args:
        rows: each prompt's picture by arm, the reference first; one prompt at least.
        path: the PNG.
        changed: what each other arm changed, over all prompts with a relation and all without.
        prompts: how many prompts these were drawn from; by default these alone.
        remark: what a reader of the marks must know, added to the caption.

    Raises:
        UserError: the file cannot be written.
    """
    arms, changed = list(rows[0]), changed or {}
    judged = all(shown.verdict is not None for row in rows for shown in row.values())
    across = min(max(1, PAGE // len(arms)), len(rows))
    deep = -(-len(rows) // across)
    height, width = rows[0][arms[0]].pixels().shape[:2]
    cell = width * -(-SMALLEST // width) if width < SMALLEST else min(width, LARGEST)
    tile = round(height * cell / width)
    frame, plate = (FRAME, PLATE) if judged else (0, 0)
    outer = cell + 2 * frame
    block = len(arms) * (outer + GAP) - GAP
    page_width = 2 * MARGIN + across * block + (across - 1) * GUTTER
    row_height = TITLE + tile + 2 * frame + plate + BETWEEN
    when, reader = ("judged", JUDGED) if judged else ("made", UNJUDGED)
    caption = CAPTION.format(len(rows), prompts or len(rows), when, reader)
    if remark:
        caption = f"{caption} {remark[0].upper()}{remark[1:]}."
    note = wrapped(caption, font_of(NOTE), page_width - 2 * MARGIN)
    line = NOTE + 5
    above = MARGIN + HEADLINE * len(changed)
    page_height = above + HEADER + deep * row_height + line * len(note) + MARGIN
    page = Image.new("RGB", (page_width, page_height), "white")
    draw = ImageDraw.Draw(page)
    for number, (arm, both) in enumerate(changed.items()):
        _draw_changes(draw, MARGIN + number * HEADLINE, page_width, arms[0], arm, *both)
    for column in range(across):
        left = MARGIN + column * (block + GUTTER)
        for side, name in enumerate(arms):
            middle = left + side * (outer + GAP) + outer / 2
            draw.text((middle, above + HEADER / 2), name, INK, fitted(name, outer, 18, True), "mm")
    for number, row in enumerate(rows):
        left = MARGIN + (number % across) * (block + GUTTER)
        top = above + HEADER + (number // across) * row_height
        _draw_prompt(draw, (left, top + TITLE / 2), row[arms[0]].prompt, block)
        for side, shown in enumerate(row.values()):
            x, y = left + side * (outer + GAP), top + TITLE
            if judged and shown.verdict is not None:
                words = reading(shown.prompt, shown.verdict)
                colour = RIGHT if shown.verdict.spatial else WRONG
                below = y + tile + 2 * frame + plate
                draw.rectangle((x, y, x + outer - 1, below - 1), colour)
                font = fitted(words, cell, 15, bold=True)
                draw.text((x + outer / 2, below - (plate + frame) / 2), words, "white", font, "mm")
            picture = Image.fromarray(shown.pixels())
            page.paste(
                picture.resize((cell, tile), Image.Resampling.BICUBIC), (x + frame, y + frame)
            )
    for number, words in enumerate(note):
        y = page_height - MARGIN - line * (len(note) - number)
        draw.text((MARGIN, y), words, PALE, font_of(NOTE))
    files.write_bytes(path, png(np.asarray(page)))


def _draw_changes(
    draw: ImageDraw.ImageDraw,
    top: int,
    page_width: int,
    reference: str,
    arm: str,
    related: Changes,
    plain: Changes,
) -> None:
    """A line, a bar of all prompts with a relation and its key, from `top` on."""
    width, total = page_width - 2 * MARGIN, max(1, sum(related))
    words = f"{arm}: {related.after} of {total} pictures right   ({reference}: {related.before})"
    draw.text((MARGIN, top), words, INK, fitted(words, width, 22, bold=True), "la")
    parts = (
        (STAYED, related.stayed_right, "right in both"),
        (RIGHT, related.better, "changed for the better"),
        (WRONG, related.worse, "for the worse"),
        (LIGHT, related.stayed_wrong, "wrong in both"),
    )
    top, start = top + 32, 0
    for colour, count, _ in parts:
        left, right = (MARGIN + round(width * n / total) for n in (start, start + count))
        if count:
            draw.rectangle((left, top, right - 1, top + BAR - 1), colour)
        start += count
    key = "   ".join(f"■ {count} {words}" for _, count, words in parts)
    font, x = fitted(key, width, 14), float(MARGIN)
    for colour, count, words in parts:
        draw.text((x, top + BAR + 5), "■ ", colour, font)
        x += font.getlength("■ ")
        draw.text((x, top + BAR + 5), f"{count} {words}   ", INK, font)
        x += font.getlength(f"{count} {words}   ")
    if sum(plain):
        said = (
            f"{sum(plain)} without a relation: objects right {plain.before}, now "
            f"{plain.after} ({plain.better} for the better, {plain.worse} for the worse)"
        )
        draw.text((MARGIN, top + BAR + 24), said, PALE, fitted(said, width, NOTE))


def _draw_prompt(
    draw: ImageDraw.ImageDraw, place: tuple[float, float], prompt: Prompt, width: int
) -> None:
    """The prompt in quotation marks as it was given, its relation in bold."""
    before, relation, after = prompt.text.partition(prompt.relation or "\0")
    whole = f"“{prompt.text}”"
    size = fitted(whole, width - 12, 17).size
    plain, bold = font_of(round(size)), font_of(round(size), bold=True)
    x, y = place
    for words, font in ((f"“{before}", plain), (relation, bold), (f"{after}”", plain)):
        draw.text((x, y), words, INK, font, "lm")
        x += font.getlength(words)


def reading(prompt: Prompt, verdict: Verdict) -> str:
    """A verdict in a few words: "✓ left of", "✗ right of", "✗ no blue cube"."""
    if verdict.spatial:
        return f"✓ {verdict.relation_read}"
    if verdict.objects:
        return f"✗ {verdict.relation_read or 'no clear relation'}"
    if verdict.subject_found:
        return f"✗ no {prompt.object_label}"
    return f"✗ no {prompt.subject_label}" if verdict.object_found else "✗ neither object"
