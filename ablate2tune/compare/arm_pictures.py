"""The pictures of an arm: which prompts and seeds, and making those that are not yet there."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from ablate2tune.compare.compare_config import CompareConfig
from ablate2tune.compare.prompts import Prompt
from ablate2tune.compare.shown import Shown
from ablate2tune.models import Denoiser
from ablate2tune.pictures import Picture, is_made, remove_left_overs, sample_batch, write_batch
from ablate2tune.runs import content_hash
from ablate2tune.seeding import seed_for


@dataclass(frozen=True)
class Job:
    """One picture to make: the same in every arm."""

    prompt: Prompt
    repeat: int
    """Which of the prompt's images, from 0."""
    image_seed: int
    """Seed of the picture's noise, 32 bits: `torch.Generator().manual_seed(image_seed)`."""

    @property
    def file_name(self) -> str:
        """Name inside an arm's folder."""
        kind = "plain" if self.prompt.relation is None else "relation"
        return f"{kind}-{self.prompt.index:04d}-{self.repeat}.png"

    def shown(self, folder: Path, content: str, config: CompareConfig) -> Shown:
        """The picture of an arm.

        Args:
            folder: the arm's own folder.
            content: what the model is and what the arm does with it.
            config: how it is sampled.
        """
        picture = content_hash(
            content, self.prompt.text, self.image_seed, config.steps, config.true_cfg_scale
        )
        path = folder / self.file_name
        return Shown(self.prompt, self.repeat, self.image_seed, path, picture)


def plan(
    relational: Sequence[Prompt], plain: Sequence[Prompt], repeats: int, seed: int
) -> list[Job]:
    """All pictures of an arm, relation prompts first, each prompt's images side by side."""
    return [
        Job(prompt, repeat, seed_for(seed, purpose, prompt.index, repeat) % 2**32)
        for prompts, purpose in ((relational, "image"), (plain, "plain image"))
        for prompt in prompts
        for repeat in range(repeats)
    ]


def make_pictures(
    denoiser: Denoiser,
    shown: Sequence[Shown],
    config: CompareConfig,
    applied: AbstractContextManager[None],
    on_made: Callable[[int], None],
) -> None:
    """Make the pictures that are not yet there; whole ones of the same content are kept.

    Args:
        denoiser: the model as it is.
        shown: all pictures of the arm, in one folder.
        config: sampling settings.
        applied: makes the model what the arm says; entered only if there is anything to make.
        on_made: called with the number of pictures that are there, after each batch.
    """
    folder = shown[0].path.parent
    folder.mkdir(parents=True, exist_ok=True)
    remove_left_overs(folder)
    pictures = [Picture(one.prompt.text, one.seed, one.path, one.picture) for one in shown]
    batches = [
        pictures[start : start + config.batch_size]
        for start in range(0, len(pictures), config.batch_size)
    ]
    left = [batch for batch in batches if not is_made(denoiser, batch)]
    there = len(pictures) - sum(map(len, left))
    if there:
        on_made(there)
    if not left:
        return
    with applied:
        for batch in left:
            write_batch(batch, sample_batch(denoiser, batch, config.steps, config.true_cfg_scale))
            there += len(batch)
            on_made(there)
