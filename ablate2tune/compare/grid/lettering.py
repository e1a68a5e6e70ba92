"""Letters in pictures: fonts that hold the marks, sizes that fit, lines that wrap."""

from pathlib import Path

import matplotlib
from PIL import ImageFont


def font_of(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans as matplotlib ships it: it has the marks, on every machine."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)


def fitted(words: str, width: float, most: int = 16, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The largest font, of 9 to `most` pixels, in which the words fit the width."""
    fonts = (font_of(size, bold) for size in range(most, 9, -1))
    return next((font for font in fonts if font.getlength(words) <= width), font_of(9, bold))


def wrapped(words: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """The words in lines that fit the width."""
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
