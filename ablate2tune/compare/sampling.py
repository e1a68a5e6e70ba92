"""Making the pictures of one arm: fixed batches, written as they come, resumable.

Floating-point sums may differ in the last bit between batch sizes, which can move a pixel by one.
So the batches are fixed by the list of jobs alone, and a batch that lacks any whole picture is
made again as a whole: an interrupted comparison ends with the same bytes as an uninterrupted one.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ablate2tune import runs
from ablate2tune.compare.prompts import Prompt
from ablate2tune.pipelines import FluxDenoiser
from ablate2tune.recipe import CompareConfig
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
    denoiser: FluxDenoiser,
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
    for left_over in folder.glob(".*.tmp"):
        left_over.unlink()
    size = (denoiser.config.width, denoiser.config.height)
    for start in range(0, len(jobs), config.batch_size):
        batch = jobs[start : start + config.batch_size]
        if not all(is_whole(folder / job.file_name, size) for job in batch):
            images = denoiser.sample(
                [job.prompt.text for job in batch],
                [job.image_seed for job in batch],
                steps=config.steps,
                true_cfg_scale=config.true_cfg_scale,
                batch_size=config.batch_size,
            )
            for job, image in zip(batch, images, strict=True):
                runs.write_bytes(folder / job.file_name, _png(image))
        on_made(start + len(batch))


def is_whole(path: Path, size: tuple[int, int]) -> bool:
    """Whether a picture of this width and height is there and decodes to its end."""
    try:
        with Image.open(path) as image:
            image.load()
            return image.size == size
    except (OSError, SyntaxError, ValueError):
        return False


def read_images(paths: Sequence[Path]) -> np.ndarray:
    """Pictures as uint8 (n, height, width, 3)."""
    return np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()
