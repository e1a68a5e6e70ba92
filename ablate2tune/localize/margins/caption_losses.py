"""The margin probe: how much better the denoiser explains an image by its caption than by a foil.

A diffusion classifier (Li et al. 2023, arXiv:2303.16203; Jeong et al. 2025, arXiv:2505.17955):
every caption of an image is scored on the same noise and noise levels, and only captions of one
image are compared.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ablate2tune.contrasts.contrast import Role
from ablate2tune.localize.margins.encoded_examples import Examples
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.models import Conditioning, Denoiser, Studied
from ablate2tune.seeding import seed_for, torch_generator

GUIDANCE = 1.0
"""Value of the guidance embedding: the loss is that of the unguided model."""
TEXTS = 3
"""Texts that a picture is scored under: the true one, the target foil, the control foil."""
OTHER: dict[Role, Role] = {"true": "target", "target": "true", "control": "true"}
"""Whose activations each text's run gets where a condition patches."""


@dataclass(frozen=True)
class Levels:
    """The noise that every image is probed with."""

    sigmas: Sequence[float]
    """The noise's share of the mixture, in [0, 1] (see `models.schedules`)."""
    noises: int
    """Noise draws per image and noise level."""
    seed: int
    batch_size: int
    """Latents per forward; the texts of a picture go together."""
    texts: int = TEXTS
    """Texts of a picture: two where there is no control foil."""

    @property
    def examples_per_batch(self) -> int:
        """Images whose captions fit in one forward; at least one."""
        return max(1, self.batch_size // self.texts)

    @property
    def rows_per_example(self) -> int:
        """Latents that one image is probed with."""
        return self.texts * len(self.sigmas) * self.noises


@dataclass(frozen=True)
class Batch:
    """Rows for one forward: noised images, each under one caption."""

    latents: Tensor
    """Clean latents as the pipeline denoises them, (rows, ...)."""
    noise: Tensor
    """The noise added to them, the same shape."""
    sigma: float
    level: int
    """Index of sigma among the noise levels."""
    conditioning: Conditioning
    tokens: Mapping[str, Tensor] = field(default_factory=dict)
    """Text positions of each phrase, by its name: bool, (rows, text tokens)."""
    donors: "Batch | None" = None
    """For mode resample: other examples whose activations the rows get, row by row."""
    row_seeds: Sequence[int] = ()
    """For modes that draw: a seed for each row, the same under all captions of an image."""
    other: Conditioning | None = None
    """For modes patch and trace: each row's other caption, the true one for a foil and the
    target foil for the true one."""

    def __len__(self) -> int:
        return len(self.latents)

    def __getitem__(self, rows: slice) -> "Batch":
        return Batch(
            self.latents[rows],
            self.noise[rows],
            self.sigma,
            self.level,
            self.conditioning[rows],
            {name: mask[rows] for name, mask in self.tokens.items()},
            None if self.donors is None else self.donors[rows],
            self.row_seeds[rows],
            None if self.other is None else self.other[rows],
        )

    def under_other_captions(self) -> "Batch":
        """The same pictures and noise, each row under its other caption.

        Raises:
            ValueError: the batch has no other captions.
        """
        if self.other is None:
            raise ValueError("the batch was made without other captions")
        return replace(self, conditioning=self.other, other=None, donors=None)

    def losses(self, studied: Studied) -> Tensor:
        """The loss of every row, (rows,), as the model now is (`batch_loss`)."""
        assert isinstance(studied, Denoiser), "rows of latents are a denoiser's"
        return batch_loss(studied, self)

    def repeat(self, copies: int) -> "Batch":
        """The rows, `copies` times in turn; what the modes take rows from stays one copy."""
        if copies == 1:
            return self
        return Batch(
            _repeated(self.latents, copies),
            _repeated(self.noise, copies),
            self.sigma,
            self.level,
            Conditioning.cat([self.conditioning] * copies),
            self.tokens,
            self.donors,
            self.row_seeds,
            self.other,
        )


class Margins(NamedTuple):
    """Per image and noise level, means over the noise draws; float64, (n, sigmas) each."""

    target: np.ndarray
    """Loss under the target foil, minus loss under the caption."""
    control: np.ndarray
    """Loss under the control foil, minus loss under the caption; nan where there is none."""
    quality: np.ndarray
    """Minus the loss under the caption."""


Losses = Callable[[Batch, Sequence[Condition]], dict[Condition, np.ndarray]]
"""The loss of every row under each condition: float64, (rows,)."""


def noise_for(example: str, shape: torch.Size, seed: int, level: int, draw: int) -> Tensor:
    """The noise of one image at one noise level and draw, on the CPU: `shape`, float32."""
    generator = torch_generator(seed, f"noise:{example}", level, draw)
    return torch.randn(shape, generator=generator)


@dataclass(frozen=True)
class Donors:
    """Calibration examples whose activations measured ones get in mode resample."""

    examples: Examples
    chosen: Sequence[int]
    """For each measured example, the place of its donor among `examples`."""


def batches(
    examples: Examples,
    levels: Levels,
    chunk: Sequence[int],
    device: torch.device,
    donors: Donors | None = None,
    others: bool = False,
) -> Iterator[Batch]:
    """All batches of some examples: per noise level and draw, one with three captions an image.

    The rows are the true captions of all images, then the target foils, then the control foils.
    A donor is run under its own caption of the same kind, with its own noise of the same level.
    `others` adds each row's other caption.
    """
    if donors is None:
        yield from _batches(examples, levels, chunk, device, others)
        return
    theirs = _batches(donors.examples, levels, [donors.chosen[i] for i in chunk], device)
    for own, donor in zip(_batches(examples, levels, chunk, device, others), theirs, strict=True):
        yield replace(own, donors=donor)


def _batches(
    examples: Examples,
    levels: Levels,
    chunk: Sequence[int],
    device: torch.device,
    others: bool = False,
) -> Iterator[Batch]:
    rows = torch.tensor([kind[i] for kind in examples.rows.values() for i in chunk])
    conditioning = examples.conditioning[rows.to(examples.conditioning.device)]
    other = None
    if others:
        sources = [examples.rows[OTHER[role]] for role in examples.rows]
        swapped = torch.tensor([kind[i] for kind in sources for i in chunk])
        other = examples.conditioning[swapped.to(examples.conditioning.device)]
    latents = examples.latents[list(chunk)].to(device)
    tokens = {name: mask[rows] for name, mask in examples.tokens.items()}
    for level, sigma in enumerate(levels.sigmas):
        for draw in range(levels.noises):
            noise = torch.stack(
                [
                    noise_for(examples.ids[i], latents.shape[1:], levels.seed, level, draw)
                    for i in chunk
                ]
            ).to(device)
            yield Batch(
                _repeated(latents, len(examples.rows)),
                _repeated(noise, len(examples.rows)),
                sigma,
                level,
                conditioning,
                tokens,
                row_seeds=len(examples.rows)
                * [seed_for(levels.seed, f"row:{examples.ids[i]}", level, draw) for i in chunk],
                other=other,
            )


def measure(
    losses: Losses,
    examples: Examples,
    levels: Levels,
    chunk: Sequence[int],
    conditions: Sequence[Condition],
    device: torch.device,
    donors: Donors | None = None,
) -> dict[Condition, Margins]:
    """Margins of some examples, (len(chunk), sigmas), under each condition.

    A loss that is not finite stays so in the margins. Under a condition that patches, foils get
    activations of the true caption's run and the true caption those of its foil's: the margins
    are the patched foils' losses minus the untouched caption's, so that baseline minus patched is
    what the patch restores; the quality is that of the patched caption, so that baseline minus
    patched is what it breaks.
    """
    patched = [condition for condition in conditions if condition.patches]
    others = any(condition.needs("patched") for condition in conditions)
    whole = Condition()
    asked = list(conditions)
    if patched and whole not in asked:
        asked.append(whole)
    texts = len(examples.rows)
    totals = {c: np.zeros((texts, len(chunk), len(levels.sigmas))) for c in asked}
    for batch in batches(examples, levels, chunk, device, donors, others=others):
        for condition, values in losses(batch, asked).items():
            share = values.reshape(texts, -1) / levels.noises
            totals[condition][:, :, batch.level] += share
    found = {condition: margins_of(*totals[condition]) for condition in conditions}
    for condition in patched:
        untouched, quality = totals[whole][0], -totals[condition][0]
        found[condition] = margins_of(untouched, *totals[condition][1:])._replace(quality=quality)
    return found


def margins_of(true: np.ndarray, target: np.ndarray, control: np.ndarray | None = None) -> Margins:
    """Margins from the losses under the texts of each role."""
    unmeasured = np.full_like(true, np.nan)
    return Margins(target - true, unmeasured if control is None else control - true, -true)


@torch.no_grad()
def run_captions(
    denoiser: Denoiser, examples: Examples, levels: Levels, on_sigma: Callable[[int], None]
) -> None:
    """Run the denoiser on every example under its true caption, at all noise levels.

    The noise is the first draw that `measure` would take for these examples.
    """
    device = denoiser.device
    for start in range(0, len(examples), levels.batch_size):
        chunk = slice(start, start + levels.batch_size)
        latents = examples.latents[chunk].to(device)
        for level, sigma in enumerate(levels.sigmas):
            on_sigma(level)
            noise = torch.stack(
                [
                    noise_for(name, latents.shape[1:], levels.seed, level, 0)
                    for name in examples.ids[chunk]
                ]
            ).to(device)
            noised_batch(
                denoiser, latents, noise, sigma, examples.conditioning[examples.rows["true"][chunk]]
            )


def noised_batch(
    denoiser: Denoiser, latents: Tensor, noise: Tensor, sigma: float, conditioning: Conditioning
) -> Tensor:
    """The prediction for noised latents at one noise level, the shape of the latents."""
    sigmas = torch.full((len(latents),), sigma, device=latents.device)
    return denoiser.predict_noised(latents, noise, sigmas, conditioning, guidance=GUIDANCE)


def batch_loss(denoiser: Denoiser, batch: Batch) -> Tensor:
    """The squared error of every row's prediction, (rows,), as the denoiser now is.

    Against the family's own target: velocity, epsilon or v.
    """
    sigmas = torch.full((len(batch),), batch.sigma, device=batch.latents.device)
    return denoiser.denoising_loss(
        batch.latents, batch.noise, sigmas, batch.conditioning, guidance=GUIDANCE
    )


def _repeated(x: Tensor, copies: int) -> Tensor:
    return x.repeat(copies, *[1] * (x.ndim - 1))
