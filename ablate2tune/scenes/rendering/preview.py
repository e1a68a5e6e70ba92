"""One picture of each relation, or of each sentence, before a long render."""

import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ablate2tune.progress import Bar
from ablate2tune.scenes.dataset.records import SceneRecord, load_images, read_dataset
from ablate2tune.scenes.prompts.prompt_plans import plans_of
from ablate2tune.scenes.rendering.contact_sheet import sheet_format, write_sheet
from ablate2tune.scenes.rendering.render import render_dataset
from ablate2tune.scenes.scenes_config import ScenesConfig

LARGEST = 128
"""Width and height of the pictures at most (pixels)."""
SAMPLES = 4
COLUMNS = 4
"""Pictures in a row: two groups of twins."""
LINE = 13
"""Height of a line of caption (pixels)."""


def preview(
    config: ScenesConfig,
    seed: int,
    path: Path,
    on_progress: Bar | None = None,
    on_message: Callable[[str], None] | None = None,
) -> list[SceneRecord]:
    """Render the first group of each relation or sentence, small, into one PNG with the captions.

    The scenes are those that the full render begins with, except for size and noise.

    Raises:
        UserError: as `render_dataset`, or the file cannot be written.
    """
    form = sheet_format(path)
    shown = len(plans_of(config)[0]) if config.prompts else len(config.relations)
    small = config.model_copy(
        update={
            "images": 2 * shown,
            "test_images": 0,
            "size": min(config.size, LARGEST),
            "samples": min(config.samples, SAMPLES),
        }
    )
    with tempfile.TemporaryDirectory() as scratch:
        render_dataset(small, seed, Path(scratch) / "preview", on_progress, on_message)
        records = read_dataset(Path(scratch) / "preview")
        sheet = _sheet(records, small.size)
    write_sheet(sheet, path, form)
    return records


def _sheet(records: list[SceneRecord], size: int) -> Image.Image:
    width = max(size, 96)
    lines = [textwrap.wrap(record.text, width // 6, break_long_words=False) for record in records]
    label = LINE * max(len(text) for text in lines) + 4
    rows = -(-len(records) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * width, rows * (size + label)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(LINE - 3)
    for k, (record, text) in enumerate(zip(records, lines, strict=True)):
        left, top = k % COLUMNS * width, k // COLUMNS * (size + label)
        draw.multiline_text((left + 2, top), "\n".join(text), fill="black", font=font, spacing=2)
        sheet.paste(Image.fromarray(load_images([record])[0]), (left, top + label))
    return sheet
