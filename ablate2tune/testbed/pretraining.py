"""The denoiser's pretraining: flow matching on captions that mostly leave the relation out."""

import copy
import random
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ablate2tune import seeding
from ablate2tune.models import FluxDenoiser
from ablate2tune.scenes import vocabulary
from ablate2tune.scenes.dataset.records import SceneRecord
from ablate2tune.testbed.optimisation import Parts, Progress, resumable_training
from ablate2tune.testbed.testbed_recipe import CaptionMix, PartConfig
from ablate2tune.train.noise_levels import sample_sigmas


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

    def parts_at(step: int) -> Parts:
        generator = seeding.torch_generator(seed, "denoiser", step)
        rng = random.Random(seeding.seed_for(seed, "captions", step))
        mix = [mix for mix in mixes if mix.from_step <= step][-1]
        rows = torch.randint(len(records), (config.batch_size,), generator=generator)
        captions = [pretraining_caption(records[row], mix, rng) for row in rows.tolist()]
        conditioning = denoiser.encode_prompts(captions)
        clean = latents[rows]
        noise = torch.randn(clean.shape, generator=generator)
        sigma = torch.cat(
            [sample_sigmas(count, "flux_shift", shift, generator) for shift, count in shifts]
        )
        clean, noise, sigma = (x.to(denoiser.device) for x in (clean, noise, sigma))

        def loss(part: slice) -> Tensor:
            row = clean[part], noise[part], sigma[part], conditioning[part]
            return denoiser.denoising_loss(*row).mean()

        half = config.batch_size // 2
        parts = (slice(0, half), slice(half, 2 * half))
        return [lambda part=part: loss(part) for part in parts]

    average = averaged, ema
    resumable_training(
        "denoiser", model, parts_at, config, work, on_progress, ema=average, betas=(0.9, 0.99)
    )
    model.load_state_dict(averaged.state_dict())
