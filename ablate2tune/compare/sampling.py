"""The pictures of an arm: which prompts and seeds, and making those that are not yet there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ablate2tune.compare.compare_config import CompareConfig
from ablate2tune.compare.prompts import Prompt
from ablate2tune.models import Denoiser
from ablate2tune.pictures import Picture, is_made, remove_left_overs, sample_batch, write_batch
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


def make_images(
    denoiser: Denoiser,
    jobs: Sequence[Job],
    config: CompareConfig,
    folder: Path,
    on_made: Callable[[int], None],
) -> None:
    """Make the pictures that are not yet there; whole ones are kept.

    Args:
        denoiser: the model, adapted or not.
        jobs: the arm's whole plan.
        config: sampling settings.
        folder: the arm's own folder.
        on_made: called with the number of pictures that are there, after each batch.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_left_overs(folder)
    pictures = [Picture(j.prompt.text, j.image_seed, folder / j.file_name) for j in jobs]
    for start in range(0, len(pictures), config.batch_size):
        batch = pictures[start : start + config.batch_size]
        if not is_made(denoiser, batch):
            write_batch(batch, sample_batch(denoiser, batch, config.steps, config.true_cfg_scale))
        on_made(start + len(batch))
