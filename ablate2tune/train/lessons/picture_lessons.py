"""Captioned pictures as lessons for a denoiser: the family's own loss at drawn noise levels."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ablate2tune import files
from ablate2tune.errors import UserError
from ablate2tune.models import Denoiser, check_fit
from ablate2tune.scenes.dataset.caption_rates import read_rates
from ablate2tune.scenes.dataset.records import SceneRecord
from ablate2tune.seeding import seed_for
from ablate2tune.train import step_plan
from ablate2tune.train.adapter import trainable
from ablate2tune.train.example_cache import ExampleCache, data_key, encode_examples, encodings_key
from ablate2tune.train.lessons.lessons import VALIDATION_ROWS, Lessons
from ablate2tune.train.lessons.loss_masks import mask_of
from ablate2tune.train.lessons.sample_grid import sample_grid
from ablate2tune.train.lessons.user_pictures import HELD_OUT, enlarged, is_users, sizes_of
from ablate2tune.train.memory.checkpointing import covered_in
from ablate2tune.train.memory.memory_estimate import MemoryEstimate, device_memory, estimate_memory
from ablate2tune.train.noise_levels import bin_shares
from ablate2tune.train.objective import margins
from ablate2tune.train.objective.step_loss import Backward
from ablate2tune.train.objective.twins import check_twins, twin_order
from ablate2tune.train.optimizers.optimizer_kind import optimizer_of
from ablate2tune.train.size_buckets import at_size
from ablate2tune.train.train_config import TrainConfig
from ablate2tune.train.validation import (
    LEVELS,
    STEP_COST,
    HeldOut,
    levels_above,
    passes_per_picture,
    retained_share,
    side_costs,
    validation_losses,
)


class PictureLessons(Lessons):
    """The "train" split of a data set, its last `config.validation_images` for validation only."""

    def __init__(
        self,
        denoiser: Denoiser,
        records: Sequence[SceneRecord],
        sample_steps: int = 16,
        users: Sequence[SceneRecord] = (),
    ):
        """Nothing is read or encoded yet.

        Args:
            denoiser: what is taught.
            records: the data set.
            users: pictures of the user's own (`read_user_pictures`), alone or beside the set.
            sample_steps: sampling steps of the grids, whose prompts are captions of validation.
        """
        self._denoiser = denoiser
        self._records, self._users, self._sample_steps = records, users, sample_steps

    @property
    def studied(self) -> Denoiser:
        """What is taught."""
        return self._denoiser

    def open(self, config: TrainConfig, seed: int, accelerator: Accelerator, folder: Path) -> None:
        """Encode pictures and captions once, by example."""
        self._config, self._seed, self._accelerator = config, seed, accelerator
        self._folder, denoiser, main = folder, self._denoiser, accelerator.is_main_process
        check_levels(denoiser, config)
        denoiser.acts_above = config.acts_above or 0.0
        parts = []
        for records in filter(None, (self._records, self._users)):  # scenes before the user's
            most = config.validation_images
            if is_users(records[0]):
                most = min(most, math.ceil(HELD_OUT * len(records)))
            split = step_plan.split_records(records, most)
            mirrored = [record.mirror() for record in split.train] if config.mirror else []
            parts.append(split._replace(train=[*split.train, *mirrored]))
        trained, held = ([record for part in parts for record in part[i]] for i in (0, 1))
        self._split = step_plan.Split(trained, held)
        self._twins = []
        if config.twins:
            check_twins(denoiser, trained)
            self._twins = twin_order(trained)
        everything = self._split.train + self._split.validation
        self._rates = read_rates(everything[0].folder)
        captions = [
            text for r in everything for text in step_plan.captions_of(r, config, self._rates)
        ]
        self._caption, self._sizes = captions[0], sizes_of(everything, denoiser)
        self._data = data_key(everything, captions, self._sizes)
        scenes = [record for record in everything if not is_users(record)]
        told = [t for r in scenes for t in step_plan.captions_of(r, config, self._rates)]
        check_fit(denoiser, [record.image_path for record in scenes], told)
        shared = config.cache and config.cache / encodings_key(denoiser, self._data)
        encoded = shared or folder / "cache"
        shown = dict.fromkeys(record.text for record in self._split.validation)
        self._prompts = list(shown)[: config.sample_prompts]
        if main:
            encode_examples(denoiser, everything, captions, self._data, encoded, self._sizes)
            denoiser.keep_prompts(self._prompts)
        denoiser.weights.drop(denoiser.encoders)
        denoiser.weights.fetch([denoiser.part])
        accelerator.wait_for_everyone()
        self._cache = ExampleCache(encoded)
        schedule = denoiser.schedule
        density = config.timesteps or schedule.density
        self._shift = config.shift or denoiser.sigma_shift
        self._sized = self._other_sizes()
        often = density, self._shift, config.high_noise, config.high_shift
        lowest = schedule.time_of(denoiser.acts_above) if config.acts_above else 0.0
        self._drawn = config.model_copy(update={"timesteps": density, "acts_above": lowest})
        self._shares = bin_shares(LEVELS, *often, schedule.time_of, lowest)
        self._backward = Backward(denoiser, self._cache, config)
        self._held_out = HeldOut(
            denoiser,
            self._cache,
            range(len(self._split.train), len(everything)),
            seed,
            config.guidance,
            max(
                VALIDATION_ROWS,
                config.micro_batch or config.batch_size // accelerator.num_processes,
            ),
            accelerator,
        )

    @property
    def data(self) -> str:
        """Hash of pictures and captions."""
        return self._data

    def _other_sizes(self) -> dict[int, step_plan.Sized]:
        """The training examples of another size than the model's."""
        denoiser, found = self._denoiser, {}
        own = denoiser.config.height, denoiser.config.width
        for example, size in enumerate(self._sizes[: len(self._split.train)]):
            if size != own:
                with at_size(denoiser, size):
                    shift = self._config.shift or denoiser.sigma_shift
                found[example] = step_plan.Sized(self._cache.latent_shape(example), shift)
        return found

    def _batch_at(self, step: int) -> step_plan.Batch:
        records = self._split.train
        usual = next((e for e in range(len(records)) if e not in self._sized), 0)
        batch = step_plan.batch_at(
            self._seed,
            step,
            records,
            self._cache.latent_shape(usual),
            self._drawn,
            self._shift,
            self._rates,
            self._sized,
            self._twins,
        )
        return batch._replace(sigma=self._denoiser.schedule.level_at(batch.sigma))

    def run(self, step: int) -> None:
        """The loss of a step's pictures under their captions."""
        whole = self._batch_at(step)
        for places in self._cache.together(whole.examples):
            batch = whole.pick(places)
            rows = self._cache.latents(batch.examples), torch.as_tensor(batch.noise), batch.sigma
            captions = self._cache.captions(batch.captions)
            with at_size(self._denoiser, self._cache.size_of(batch.examples[0])):
                self._denoiser.denoising_loss(*rows, captions, self._config.guidance)

    def backward(self, step: int, optimizer: torch.optim.Optimizer) -> Tensor:
        """The loss of `objective.step_loss`."""
        accelerator = self._accelerator
        mine = self._batch_at(step).part(accelerator.process_index, accelerator.num_processes)
        return self._backward(mine, optimizer)

    def forward(self, step: int) -> None:
        """The loss of `objective.step_loss`, without gradients."""
        self._backward.forward(self._batch_at(step))

    def validate(self) -> dict[str, Any]:
        """Losses on fixed noise by noise level, and margins where the relation is taught."""
        held = self._split.validation
        related = [record for record in held if not is_users(record)]
        levels = levels_above(self._denoiser.acts_above)
        losses = validation_losses(self._held_out, [record.text for record in held], levels)
        taught = self._config.contrast and related
        return {
            "mean": sum(losses) / len(losses),
            "as_trained": sum(x * share for x, share in zip(losses, self._shares, strict=True)),
            "by_sigma": {f"{level:g}": loss for level, loss in zip(levels, losses, strict=True)},
            **(margins.measure_taught(self._held_out, related).row() if taught else {}),
        }

    def costs(self, memory: MemoryEstimate) -> Iterator[str | None]:
        """Memory, and what validation and sampling add to training."""
        yield self._of_users()
        yield str(memory)
        yield memory.warning(device_memory(self._denoiser.device))
        each = LEVELS + (margins.ROWS if self._config.contrast else 0)
        rows = each * len(self._split.validation)
        yield side_costs(self._config, rows, len(self._prompts), self._sample_steps)

    def _of_users(self) -> str | None:
        """What became of the user's own pictures; None where there are none."""
        everything = (*self._split.train, *self._split.validation)
        own = self._denoiser.config.height, self._denoiser.config.width
        sized = zip(everything, self._sizes or [own] * len(everything), strict=True)
        pairs = [(record, size) for record, size in sized if is_users(record)]
        users = [record for record, _ in pairs if not record.mirrored]
        if not users:
            return None
        taken = [size for record, size in pairs if not record.mirrored]
        often = [f"{w} x {h}: {count}" for (h, w), count in Counter(taken).most_common()]
        counts = [self._denoiser.token_count(record.text) for record in users]
        cut = sum(count > limit for count, limit in counts)
        return (
            f"own pictures: {len(users)}, {enlarged(users, taken)} of them enlarged; "
            f"brought to {', '.join(often)}; captions that are cut: {cut}{self._of_masks()}"
        )

    def _of_masks(self) -> str:
        """How many pictures have a mask, and how much of these counts."""
        everything = (*self._split.train, *self._split.validation)
        masked = [e for e, r in enumerate(everything) if mask_of(r) and not r.mirrored]
        masks = [mask for e in masked if (mask := self._cache.masks([e])) is not None]
        if not masks:
            return ""
        return f"; masks: {len(masks)}, by which {fmean(m.mean().item() for m in masks):.0%} counts"

    def memory(self) -> MemoryEstimate:
        """What a step will hold, by a look at one picture."""
        denoiser, config = self._denoiser, self._config
        held = [part for part in denoiser.pipe.components.values() if isinstance(part, nn.Module)]
        return estimate_memory(
            lambda: self._of_largest(1),
            [x for module in held for x in (*module.parameters(), *module.buffers())],
            trainable(denoiser.model).values(),
            config.most_rows * config.at_once(self._accelerator.num_processes),
            optimizer_of(config).tensors,
            covered_in(denoiser.model),
        )

    def look(self, rows: int) -> Tensor:
        """The family's own loss of the largest picture, so many times, at as many noise levels.

        Where a step retains some of what the base predicts, a share of the rows is retained: that
        is a forward pass more, with a cost of its own.
        """
        share = retained_share(self._config) / self.rows_each
        kept = torch.arange(rows) < max(1, round(share * rows)) if share else None
        return self._of_largest(rows, kept)

    def _of_largest(self, rows: int, kept: Tensor | None = None) -> Tensor:
        sizes = self._sizes or [(0, 0)]
        largest = max(range(len(sizes)), key=lambda place: math.prod(sizes[place]))
        latents, denoiser = self._cache.latents([largest] * rows), self._denoiser
        captions = self._cache.captions([self._caption] * rows)
        lowest = max(0.5, denoiser.acts_above)  # below it there is nothing to be trained
        levels = torch.linspace(lowest, (1 + lowest) / 2, rows)
        row = latents, torch.zeros_like(latents), levels, captions
        asked: dict[str, Any] = {} if kept is None else {"kept": kept}
        with at_size(denoiser, self._cache.size_of(largest)):
            return denoiser.denoising_loss(*row, self._config.guidance, **asked).sum()

    @property
    def rows_each(self) -> float:
        """Both captions of a picture that is seen under two; what is retained is in the look."""
        return (passes_per_picture(self._config) - retained_share(self._config)) / STEP_COST

    def show(self, step: int) -> Path | None:
        """A grid of pictures."""
        if not self._prompts:
            return None
        seeds = [seed_for(self._seed, "train sample", i) for i in range(len(self._prompts))]
        pictures = self._denoiser.sample(self._prompts, seeds, self._sample_steps)
        self._denoiser.weights.drop(self._denoiser.encoders)
        grid = sample_grid(pictures, self._prompts)
        path = self._folder / "samples" / f"step-{step:06d}.png"
        files.write_bytes(path, grid)
        return path


def check_levels(denoiser: Denoiser, config: TrainConfig) -> None:
    """See that there are noise levels at which the adapter would act.

    Raises:
        UserError: all of the model's lie below `acts_above`.
    """
    highest = denoiser.schedule.level_at(torch.ones(1)).item()
    if denoiser.schedule.time_of(config.acts_above or 0.0) == 1:
        raise UserError(
            f"the model's highest noise level is {highest:.3g}: the adapter would never act",
            where=f"train.acts_above = {config.acts_above:g}",
            mend="lower it",
        )
