"""What is drawn under every condition: captions of scenes to be judged, and captions of pairs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ablate2tune.compare.judges import Judge, check_label
from ablate2tune.compare.prompts import JUDGED, Prompt
from ablate2tune.contrasts.contrast import Contrast
from ablate2tune.errors import UserError
from ablate2tune.localize.generate.pairs import Pair
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.pictures import Picture
from ablate2tune.seeding import seed_for


@dataclass(frozen=True)
class Example:
    """A caption and a seed: one picture per condition."""

    name: str
    """Unique: "scene-000004-a-0" or "pair-00012-0", with the number of the repeat."""
    group: str
    """What is resampled as one: the contrast group of a scene, the pair itself."""
    text: str
    image_seed: int
    """Seed of the picture's noise, 32 bits; the same under every condition."""
    prompt: Prompt | None
    """What a judge should find; None for pairs."""

    def picture(self, folder: Path, condition: Condition) -> Picture:
        """The picture of this example under a condition, below `folder`."""
        return Picture(
            self.text, self.image_seed, folder / folder_of(condition) / f"{self.name}.png"
        )


def folder_of(condition: Condition) -> str:
    """Name of the folder that holds a condition's pictures.

    >>> folder_of(Condition()), folder_of(Condition(("transformer_blocks.3",), "skip"))
    ('baseline', 'skip-transformer_blocks.3')
    """
    if not condition.addresses:
        return "baseline"
    return f"{condition.mode}-{'+'.join(condition.addresses)}".replace(":", "-")


def scene_examples(
    contrasts: Sequence[Contrast],
    repeats: Sequence[int],
    seed: int,
    purpose: str = "generated scene",
) -> list[Example]:
    """The true texts of contrasts, each with its pictures of these numbers."""
    return [
        Example(
            f"scene-{contrast.id}-{repeat}",
            contrast.cluster,
            contrast.text,
            seed_for(seed, f"{purpose}:{contrast.id}", repeat) % 2**32,
            prompt_of(contrast),
        )
        for contrast in contrasts
        for repeat in repeats
    ]


def prompt_of(contrast: Contrast) -> Prompt:
    """What a judge is asked of a picture of the true text.

    Raises:
        UserError: the contrast does not say what is in its picture.
    """
    if not contrast.facts:
        raise UserError(
            "nothing says which objects and which relation a judge should find",
            where=f"example {contrast.id}",
            mend="use probe = margin, or rendered scenes",
        )
    return Prompt(contrast.text, **contrast.facts, index=0)


def pair_examples(pairs: Sequence[Pair], repeats: int, seed: int) -> list[Example]:
    """The captions of pairs, each `repeats` times."""
    return [
        Example(
            f"pair-{pair.index:05d}-{repeat}",
            f"pair-{pair.index:05d}",
            pair.text,
            seed_for(seed, "generated pair", pair.index, repeat) % 2**32,
            None,
        )
        for pair in pairs
        for repeat in range(repeats)
    ]


def check_judgeable(judge: Judge, contrasts: Sequence[Contrast], where: str) -> None:
    """Refuse examples whose pictures the judge cannot read.

    Args:
        judge: the judge.
        contrasts: the examples.
        where: the key of the recipe that asked for it.

    Raises:
        UserError: a relation cannot be read from one picture, or the judge does not know an object.
    """
    prompts = [prompt_of(contrast) for contrast in contrasts]
    unread = sorted({str(prompt.relation) for prompt in prompts} - set(JUDGED))
    if unread:
        raise UserError(
            f"pictures of {', '.join(unread)} cannot be judged: from one image "
            f"{', '.join(JUDGED)} are read alone",
            where=where,
            mend="use probe = margin on rendered images, or scenes of these relations",
        )
    for prompt in prompts:
        for label in prompt.labels:
            check_label(judge.labels, label)
