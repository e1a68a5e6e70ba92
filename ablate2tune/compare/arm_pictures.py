"""The pictures of an arm: which prompts and seeds, and making those that are not yet there."""

import itertools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from ablate2tune.compare.compare_config import CompareConfig
from ablate2tune.compare.prompts import Prompt
from ablate2tune.compare.shown import Shown
from ablate2tune.files import content_hash
from ablate2tune.models import Denoiser
from ablate2tune.pictures import Picture, is_made, remove_left_overs, sample_batch, write_batch
from ablate2tune.seeding import seed_for


def plan(
    folder: Path,
    content: str,
    relational: Sequence[Prompt],
    plain: Sequence[Prompt],
    config: CompareConfig,
    seed: int,
) -> list[Shown]:
    """All pictures of an arm, relation prompts first, each prompt's images side by side.

    `content` is what the model is and what the arm does with it; prompts and noise are the same in
    every arm.
    """
    planned = []
    for prompts, name, purpose in (
        (relational, "relation", "image"),
        (plain, "plain", "plain image"),
    ):
        for prompt, repeat in itertools.product(prompts, range(config.seeds)):
            noise = seed_for(seed, purpose, prompt.index, repeat) % 2**32
            path = folder / f"{name}-{prompt.index:04d}-{repeat}.png"
            picture = content_hash(content, prompt.text, noise, config.steps, config.true_cfg_scale)
            planned.append(Shown(prompt, repeat, noise, path, picture))
    return planned


def make_pictures(
    denoiser: Denoiser,
    shown: Sequence[Shown],
    config: CompareConfig,
    applied: AbstractContextManager[None],
    on_made: Callable[[int], None],
) -> None:
    """Make the pictures of an arm that are not yet there; whole ones of the same content are kept.

    `applied`, which makes the model what the arm says, is entered only if there is anything to
    make; `on_made` is called with the number of pictures that are there.
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
