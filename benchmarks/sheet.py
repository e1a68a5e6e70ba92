"""A contact sheet of a rendered set, as they are in docs/scenes.md.

python benchmarks/sheet.py data/scenes-prompts docs/scenes-sentences.jpg --sentences --across 12
python benchmarks/sheet.py data/scenes-natural docs/scenes-natural.jpg --random 64
"""

import argparse
import random
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ablate2tune.scenes.dataset.records import SceneRecord, load_images, read_dataset

LINE = 11
"""Height of a line of caption (pixels)."""


def main() -> None:
    """Write the sheet: scenes in their order, or those that show a typed sentence, by sentence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("sheet", type=Path)
    parser.add_argument("--sentences", action="store_true")
    parser.add_argument("--random", type=int, help="so many, drawn at random")
    parser.add_argument("--each", type=int, default=4, help="pictures of a sentence")
    parser.add_argument("--across", type=int, default=8)
    parser.add_argument("--width", type=int, default=128)
    asked = parser.parse_args()
    records = list(read_dataset(asked.folder))
    if asked.sentences:
        typed: dict[str, list[SceneRecord]] = {}
        for record in records:
            if record.more["prompt"]:
                typed.setdefault(record.more["prompt"], []).append(record)
        shown = [(text if k == 0 else "", one) for text, own in typed.items()
                 for k, one in enumerate(own[: asked.each])]  # fmt: skip
    else:
        if asked.random:
            records = random.Random(0).sample(records, asked.random)
        shown = [(record.text, record) for record in records]
    sheet_of(shown, asked.across, asked.width).save(asked.sheet, quality=80)


def sheet_of(shown: list[tuple[str, SceneRecord]], across: int, width: int) -> Image.Image:
    """Pictures in rows, each with its text above."""
    font, high = ImageFont.load_default(LINE - 1), width + 2 * LINE + 2
    sheet = Image.new("RGB", (across * width, -(-len(shown) // across) * high), "white")
    draw = ImageDraw.Draw(sheet)
    for k, (text, record) in enumerate(shown):
        left, top = k % across * width, k // across * high
        # A sentence has the room above all its pictures.
        alone = k + 1 == len(shown) or bool(shown[k + 1][0])
        lines = textwrap.wrap(text, 2 * width // 11 if alone else width // 2)[:2]
        draw.multiline_text((left + 2, top), "\n".join(lines), fill="black", font=font, spacing=1)
        picture = Image.fromarray(load_images([record])[0]).resize(
            (width, width), Image.Resampling.BOX
        )
        sheet.paste(picture, (left, top + 2 * LINE + 2))
    return sheet


if __name__ == "__main__":
    main()
