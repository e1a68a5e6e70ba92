"""The denoiser's pretraining: flow matching on captions that mostly leave the relation out."""

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ablate2tune import seeding
from ablate2tune.models import Conditioning, FluxDenoiser
from ablate2tune.scenes import vocabulary
from ablate2tune.scenes.dataset.records import SceneRecord
from ablate2tune.testbed.optimisation import (
    Graphed,
    GraphedGradients,
    Parts,
    Progress,
    resumable_training,
)
from ablate2tune.testbed.testbed_recipe import CaptionMix, PartConfig
from ablate2tune.train.noise_levels import sample_sigmas

AT_ONCE = 512
"""Captions that are encoded together."""


def pretraining_caption(record: SceneRecord, mix: CaptionMix, rng: random.Random) -> str:
    """A caption as the web would give it: the relation seldom said, and sometimes wrong."""
    if rng.random() < mix.dropped:
        return ""
    subject = (record.subject_colour, record.subject)
    thing = (record.object_colour, record.object)
    if rng.random() < mix.relation_stated:
        relation = record.relation
        if rng.random() < mix.relation_wrong:
            opposite = vocabulary.OPPOSITE[relation]
            others = [r for r in vocabulary.RELATIONS if r not in (relation, opposite)]
            relation = opposite if rng.random() < mix.opposite else rng.choice(others)
        return vocabulary.caption(*subject, relation, *thing)
    first, second = rng.sample([subject, thing], 2)
    return vocabulary.caption(*first, None, *second)


def pretrain_denoiser(
    denoiser: FluxDenoiser,
    latents: Tensor,
    records: Sequence[SceneRecord],
    mixes: Sequence[CaptionMix],
    config: PartConfig,
    ema: float,
    high_noise: tuple[float, float],
    seed: int,
    work: Path,
    on_progress: Progress | None = None,
) -> None:
    """Train the transformer in place; it ends with the weights averaged with decay `ema`.

    The text encoders and the autoencoder are frozen. `latents` are packed, one row per record,
    (n, tokens, channels); `mixes` come in order of their first steps; `high_noise` is the share of
    the rows whose noise levels are moved by its own shift, not by the sampler's; `work` is the
    folder of the training state.
    """
    model = denoiser.pipe.transformer
    averaged = copy.deepcopy(model).requires_grad_(False)
    share, high_shift = high_noise
    high = round(share * config.batch_size)
    shifts = [(high_shift, high), (denoiser.sigma_shift, config.batch_size - high)]
    captions = possible_captions(records)
    place = {caption: index for index, caption in enumerate(captions)}
    told = Conditioning.cat(
        [
            denoiser.encode_prompts(captions[start : start + AT_ONCE])
            for start in range(0, len(captions), AT_ONCE)
        ]
    )
    latents = latents.to(denoiser.device)

    def drawn_at(step: int) -> tuple[Tensor, ...]:
        generator = seeding.torch_generator(seed, "denoiser", step)
        rng = random.Random(seeding.seed_for(seed, "captions", step))
        mix = [mix for mix in mixes if mix.from_step <= step][-1]
        rows = torch.randint(len(records), (config.batch_size,), generator=generator)
        said = [place[pretraining_caption(records[row], mix, rng)] for row in rows.tolist()]
        noise = torch.randn((config.batch_size, *latents.shape[1:]), generator=generator)
        sigma = torch.cat(
            [sample_sigmas(count, "flux_shift", shift, generator) for shift, count in shifts]
        )
        return rows, torch.tensor(said), noise, sigma

    def loss(rows: Tensor, said: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        return denoiser.denoising_loss(latents[rows], noise, sigma, told[said]).mean()

    on_cuda = denoiser.device.type == "cuda"
    if on_cuda:
        torch.set_float32_matmul_precision("high")
    graphed = GraphedGradients(loss, list(model.parameters()))
    with drawn_ahead(drawn_at) as pinned:

        def parts_at(step: int) -> Parts | Graphed:
            if on_cuda:
                return partial(graphed, *pinned(step))
            halves = zip(*(x.chunk(2) for x in drawn_at(step)), strict=True)
            return [partial(loss, *half) for half in halves]

        average = averaged, ema
        resumable_training(
            "denoiser", model, parts_at, config, work, on_progress, ema=average, betas=(0.9, 0.99)
        )
    model.load_state_dict(averaged.state_dict())


def possible_captions(records: Sequence[SceneRecord]) -> list[str]:
    """Everything that `pretraining_caption` can say of these scenes."""
    pairs = {(r.subject_colour, r.subject, r.object_colour, r.object) for r in records}
    said = {""}
    for colour, kind, other_colour, other in pairs:
        said |= {
            vocabulary.caption(colour, kind, relation, other_colour, other)
            for relation in (*vocabulary.RELATIONS, None)
        }
        said.add(vocabulary.caption(other_colour, other, None, colour, kind))
    return sorted(said)


@contextmanager
def drawn_ahead(
    drawn_at: Callable[[int], tuple[Tensor, ...]], ahead: int = 8
) -> Iterator[Callable[[int], tuple[Tensor, ...]]]:
    """`drawn_at` in pinned memory, drawn by other threads for some steps ahead of the asked one."""

    def pinned(step: int) -> tuple[Tensor, ...]:
        return tuple(x.pin_memory() for x in drawn_at(step))

    with ThreadPoolExecutor(2) as pool:
        waiting: dict[int, Future[tuple[Tensor, ...]]] = {}

        def asked(step: int) -> tuple[Tensor, ...]:
            for later in range(step, step + ahead):
                if later not in waiting:
                    waiting[later] = pool.submit(pinned, later)
            return waiting.pop(step).result()

        yield asked
