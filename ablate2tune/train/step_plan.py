"""What each step sees: examples, captions, noise and noise levels, functions of (seed, step).

A step draws its whole global batch; processes take slices of it, so their number changes nothing.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from random import Random
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from ablate2tune.errors import UserError
from ablate2tune.scenes.dataset.caption_rates import choose, possible
from ablate2tune.scenes.dataset.records import SceneRecord
from ablate2tune.scenes.scenes_config import CaptionRates
from ablate2tune.seeding import numpy_generator, seed_for, torch_generator
from ablate2tune.train.noise_levels import raised, sample_high, sample_sigmas, twin_levels
from ablate2tune.train.train_config import TrainConfig

T = TypeVar("T")
HIGH_DRAWS = "high noise", "high sigma"
"""Which pictures are noised highly, and how highly."""
USUAL = CaptionRates()
"""Every caption is the plain one, with the relation."""


class Split(NamedTuple):
    """Training and validation examples."""

    train: list[SceneRecord]
    validation: list[SceneRecord]


class Caption(NamedTuple):
    """The caption that a picture is given in a step."""

    text: str
    states_relation: bool
    foil: str | None = None
    """The same words with the opposite relation; None where it states none that is true."""


class Sized(NamedTuple):
    """What differs for pictures of another size than the model's."""

    latents: torch.Size
    """Shape of one picture's."""
    shift: float
    """As for `sample_sigmas`."""


class Batch(NamedTuple):
    """One global batch, or a process's slice of it."""

    examples: list[int]
    """Indices into the training records."""
    captions: list[str]
    foils: list[str | None]
    """The caption that the picture contradicts, where the step contrasts both; None elsewhere."""
    kept: list[bool]
    """Where the base's own prediction is the target."""
    sigma: Tensor
    """(batch,), float32."""
    noise: Tensor | list[Tensor]
    """(batch, tokens, channels), float32; a list where pictures have several sizes."""
    drops: Sequence[int] = ()
    """Seeds of what each picture's dropout leaves out; none without it."""
    noises: Sequence[int] = ()
    """Where pictures share noise, the number of each picture's."""
    twins: Sequence[int | None] = ()
    """The example with whose mean a picture is noised, where there is one (`objective.twins`)."""

    def part(self, index: int, count: int) -> "Batch":
        """The slice of process `index` out of `count`; the slices partition the batch."""
        size = len(self.examples)
        return self.rows(slice(index * size // count, (index + 1) * size // count))

    def rows(self, rows: slice) -> "Batch":
        """Some of the pictures."""
        return Batch(
            self.examples[rows],
            self.captions[rows],
            self.foils[rows],
            self.kept[rows],
            self.sigma[rows],
            self.noise[rows],
            self.drops[rows],
            self.noises[rows],
            self.twins[rows],
        )

    def pick(self, places: Sequence[int]) -> "Batch":
        """Some of the pictures, of one size."""
        return Batch(
            [self.examples[p] for p in places],
            [self.captions[p] for p in places],
            [self.foils[p] for p in places],
            [self.kept[p] for p in places],
            self.sigma[list(places)],
            torch.stack([self.noise[p] for p in places]),
            [self.drops[p] for p in places] if self.drops else (),
            [self.noises[p] for p in places] if self.noises else (),
            [self.twins[p] for p in places] if self.twins else (),
        )


def held_out(examples: Sequence[T], groups: Sequence[str], count: int) -> tuple[list[T], list[T]]:
    """All examples but the last `count`, and those; whole groups are taken from the end."""
    sizes = Counter(groups)
    held: set[str] = set()
    for group in reversed(groups):
        if sum(sizes[name] for name in held) >= count:
            break
        held.add(group)
    pairs = list(zip(examples, groups, strict=True))
    return [e for e, g in pairs if g not in held], [e for e, g in pairs if g in held]


def split_records(records: Sequence[SceneRecord], validation_images: int) -> Split:
    """Keep the last training records for validation; the twins of a group stay together.

    Only records of the "train" split take part: the "test" split holds the object pairs that are
    kept for evaluation. Whole groups are taken from the end until `validation_images` is reached.

    Raises:
        UserError: nothing is left to train on.
    """
    rows = [record for record in records if record.split == "train"]
    if not rows:
        raise UserError("no training images", where="the data set", mend="render-data makes them")
    split = Split(*held_out(rows, [record.group_id for record in rows], validation_images))
    if not split.train:
        raise UserError(
            f"{validation_images} of {len(rows)} training images leave none to train on",
            where="train.validation_images",
            mend="lower it, or render more images",
        )
    return split


def captions_of(record: SceneRecord, config: TrainConfig, rates: CaptionRates = USUAL) -> list[str]:
    """Every caption that training may choose for an example; its plain one in any case.

    `rates` says how often which wording is drawn (`scenes.captions` of the data set).
    """
    plain = [record.pair_text] if config.plain_captions or config.contrast else []
    scene = bool(record.relation)  # the user's own pictures have none
    others = possible(record.row, rates) if scene and rates != USUAL else []
    dropped = [""] if config.caption_dropout else []
    foils = []
    if config.contrast:
        foils = [record.foil] if record.foil else []
        foils += possible(record.row, _reversed(rates)) if scene and rates != USUAL else []
    return list(dict.fromkeys([record.text, *plain, *others, *dropped, *foils]))


def choose_caption(
    record: SceneRecord, draw: float, config: TrainConfig, rates: CaptionRates, rng: Random
) -> Caption:
    """The caption for a uniform draw in [0, 1): empty, then without the relation, then in full.

    In full it is the plain caption, or what `rng` draws by the data set's `rates`. The foil of a
    caption that is true and states a relation is the same wording of the opposite one.
    """
    if draw < config.caption_dropout:
        return Caption("", states_relation=False)
    if not record.relation:  # a picture of the user's own
        return Caption(record.text, states_relation=True, foil=record.foil or None)
    if draw < config.caption_dropout + config.plain_captions:
        return Caption(record.pair_text, states_relation=False)
    if rates == USUAL:
        return Caption(record.text, states_relation=True, foil=record.foil)
    again = Random()
    again.setstate(rng.getstate())
    found = choose(record.row, rates, rng)
    if not (found.relation and found.true):
        return Caption(found.text, found.relation)
    return Caption(found.text, True, choose(record.row, _reversed(rates), again).text)


def _reversed(rates: CaptionRates) -> CaptionRates:
    """The same wordings, always of the reversed relation."""
    return rates.model_copy(update={"foil": 1.0, "dropped": 0.0, "no_relation": 0.0, "typed": 0.0})


def examples_at(seed: int, step: int, batch_size: int, count: int) -> list[int]:
    """The examples of a step, 1 the first, out of `count`.

    They are consecutive positions in an endless row of reshuffled epochs.
    """
    first = (step - 1) * batch_size
    return _shuffled(seed, "train order", range(first, first + batch_size), count)


def mixed_at(
    seed: int, step: int, batch_size: int, scenes: int, users: int, share: float
) -> list[int]:
    """The examples of a step out of so many scenes and, behind them, pictures of the user's own.

    Of the endless row of places the `share` is the user's, as evenly spread as it can be; each kind
    is a row of reshuffled epochs of its own.
    """
    first = (step - 1) * batch_size
    before = [math.floor(share * place) for place in range(first, first + batch_size + 1)]
    theirs = [late > early for early, late in pairwise(before)]
    ours = [first + place - before[place] for place, own in enumerate(theirs) if not own]
    own = [before[place] for place, own in enumerate(theirs) if own]
    drawn = iter(_shuffled(seed, "train order", ours, scenes))
    users_drawn = iter(_shuffled(seed, "train order of own", own, users))
    return [scenes + next(users_drawn) if own else next(drawn) for own in theirs]


def _shuffled(seed: int, purpose: str, positions: Sequence[int], count: int) -> list[int]:
    orders = {
        epoch: numpy_generator(seed, purpose, epoch).permutation(count)
        for epoch in {position // count for position in positions}
    }
    return [int(orders[position // count][position % count]) for position in positions]


def batch_at(
    seed: int,
    step: int,
    records: Sequence[SceneRecord],
    latent_shape: torch.Size,
    config: TrainConfig,
    shift: float,
    rates: CaptionRates = USUAL,
    sized: Mapping[int, Sized] = MappingProxyType({}),
    twins: Sequence[int] = (),
) -> Batch:
    """The global batch of a step, 1 the first, out of the training examples.

    Pictures of the user's own stand behind the scenes.

    `latent_shape` is (tokens, channels), `shift` as for `sample_sigmas`, `rates` as for
    `captions_of`; `sized` are the examples of other sizes; `twins` are the examples in an order
    (`twin_order`) in which two and two are taken together, with the same draws of everything.
    """
    size, users = config.batch_size, sum(not record.relation for record in records)
    if 0 < users < len(records):
        scenes = len(records) - users
        examples = mixed_at(seed, step, size, scenes, users, config.data_share)
    elif twins:
        pairs = examples_at(seed, step, size // 2, len(twins) // 2)
        examples = [twins[2 * pair + side] for pair in pairs for side in (0, 1)]
    else:
        examples = examples_at(seed, step, size, len(records))
    alike = torch.arange(size) // 2 * 2 if twins else torch.arange(size)  # whose draws each has
    draws = torch.rand(size, generator=torch_generator(seed, "train caption", step))
    captions = []
    for place, index in zip(alike.tolist(), examples, strict=True):
        wording = Random(seed_for(seed, "train wording", step, place))
        draw = draws[place].item()
        captions.append(choose_caption(records[index], draw, config, rates, wording))
    density, generator = (
        config.timesteps or "flux_shift",
        torch_generator(seed, "train sigma", step),
    )
    usual, sizes = Sized(latent_shape, shift), [sized.get(index) for index in examples]
    own = [found or usual for found in sizes]
    moved = torch.tensor([found.shift for found in own]) if any(sizes) else shift
    sigma = sample_sigmas(size, density, moved, generator)
    low = [False] * size
    if config.high_noise:
        generators = (torch_generator(seed, f"train {what}", step) for what in HIGH_DRAWS)
        sigma, high = sample_high(sigma, config.high_noise, config.high_shift, *generators)
        if twins:
            sigma, high = sigma.masked_fill(high, 1.0)[alike], high[alike]
        low = high.logical_not().tolist()
    if config.acts_above:
        sigma = raised(sigma, config.acts_above)
    others: list[int | None] = []
    if twins and config.twins_from:
        generator = torch_generator(seed, "train twin sigma", step)
        level = twin_levels(size, config.twins_from, generator)[alike]
        sigma = torch.where(torch.tensor(low), sigma, level)
        mixed = [not away and at < 1 for away, at in zip(low, sigma.tolist(), strict=True)]
        halves = _other_halves(examples, records)
        others = [twin if here else None for twin, here in zip(halves, mixed, strict=True)]
    foils: list[str | None] = [None] * size
    if config.contrast:
        foils = [None if away else said.foil for said, away in zip(captions, low, strict=True)]
    kept = [False] * size
    if config.retention:
        away = [False] * size if config.acts_above else low
        kept = [own or not said.states_relation for said, own in zip(captions, away, strict=True)]
    generator = torch_generator(seed, "train noise", step)
    if any(sizes):
        noise = [torch.randn(found.latents, generator=generator) for found in own]
    else:
        noise = torch.randn(size, *latent_shape, generator=generator)[alike]
    texts, drops = [said.text for said in captions], drop_seeds(seed, step, config)
    noises = alike.tolist() if twins else ()
    return Batch(examples, texts, foils, kept, sigma, noise, drops, noises, others)


def _other_halves(examples: Sequence[int], records: Sequence[SceneRecord]) -> list[int | None]:
    """Of examples that are taken two by two, each one's twin; None for two that are none."""
    found: list[int | None] = []
    for a, b in zip(examples[::2], examples[1::2], strict=True):
        found += [b, a] if records[a].foil == records[b].text else [None, None]
    return found


def drop_seeds(seed: int, step: int, config: TrainConfig) -> list[int]:
    """Seeds of the dropout of each picture or text of a step; none without dropout."""
    rows = range(config.batch_size if config.dropout else 0)
    return [seed_for(seed, "train dropout", step, row) for row in rows]


def learning_rate_at(step: int, config: TrainConfig) -> float:
    """The learning rate of a step: a linear warm-up, then a cosine that ends just above 0.

    Step 1 is the first; the step after the warm-up is the first at the full rate.
    """
    warmup = config.warmup_steps
    if step <= warmup:
        return config.learning_rate * step / (warmup + 1)
    done = (step - 1 - warmup) / (config.steps - warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
