"""Pictures of arms made by hand: what was asked for and what a judge read."""

from pathlib import Path

from ablate2tune.compare.prompts import Prompt
from ablate2tune.compare.shown import Shown
from ablate2tune.compare.verdicts import Verdict
from ablate2tune.scenes.vocabulary import caption


def shown(
    asked: str | None,
    read: str | None,
    *,
    objects: bool = True,
    extra: int = 0,
    colours: tuple[str, str] = ("red", "blue"),
    index: int = 0,
    repeat: int = 0,
    path: Path = Path(),
) -> Shown:
    """A ball and a cube, asked for in one relation and read in another; None: in none."""
    first, second = colours
    prompt = Prompt(
        caption(first, "ball", asked, second, "cube"),
        asked, "ball", first, "cube", second, index,
    )  # fmt: skip
    read = read if objects else None
    right = None if asked is None else read == asked
    verdict = Verdict(objects, objects, objects, read, right, right, extra)
    return Shown(prompt, repeat, 7 + index, path, f"picture {index}", "judge", [], verdict)
