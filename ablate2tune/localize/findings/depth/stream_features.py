"""What the probes read: each stream after each block, pooled over tokens, at each noise level."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ablate2tune.ablation.hooks import Call, Hook, hooked
from ablate2tune.ablation.regions import item_streams, items, skipped_items
from ablate2tune.ablation.sites import Site, sites_of
from ablate2tune.ablation.streams import innermost, joins_text_first
from ablate2tune.components import discover
from ablate2tune.localize.findings.depth.caption_runs import Run
from ablate2tune.localize.margins.caption_losses import noise_for, noised_batch
from ablate2tune.localize.margins.encoded_examples import Examples
from ablate2tune.models import Denoiser
from ablate2tune.seeding import torch_generator

INPUT = "input"
"""Stands for the streams as they enter the first block."""
FEATURES = 512
"""More features than these are projected at random to so many (Johnson & Lindenstrauss 1984)."""
SPREAD_ROWS = 8
QUADRANTS = 2
"""The image stream is averaged over so many rows and columns of parts of the picture."""


class Key(NamedTuple):
    """Where features were read."""

    block: str
    """Address of the block that the stream leaves, or "input"."""
    stream: str
    """text, image, or stream: one tensor whose tokens are not those of the picture's grid."""
    level: int
    """Index of the noise level."""
    part: str
    """caption, or phrases: of the text at the subject's and at the object's tokens."""


class Reduction:
    """Brings features to at most `FEATURES` by a random projection, the same for all batches.

    A feature is first divided by its spread in the first batch (its size, where that has few rows),
    so that a few huge channels do not drown the others.
    """

    def __init__(self, seed: int):
        """Nothing is drawn yet."""
        self._seed = seed
        self._spread: dict[Key, Tensor] = {}
        self._matrices: dict[int, Tensor] = {}

    def __call__(self, key: Key, x: Tensor) -> np.ndarray:
        """(rows, features) to float32 (rows, at most `FEATURES`)."""
        width = x.shape[-1]
        if width > FEATURES:
            if key not in self._spread:
                spread = x.std(0) if len(x) >= SPREAD_ROWS else x.square().mean(0).sqrt()
                self._spread[key] = spread.clamp_min(1e-6)
            if width not in self._matrices:
                generator = torch_generator(self._seed, "depth-projection", width)
                matrix = torch.randn(width, FEATURES, generator=generator) / width**0.5
                self._matrices[width] = matrix.to(x.device)
            x = (x / self._spread[key]) @ self._matrices[width]
        return x.float().cpu().numpy()


class Reader:
    """Hooks that pool the streams after each block of one batch."""

    def __init__(self, denoiser: Denoiser):
        """Find the blocks."""
        self._model, self._grid = denoiser.model, denoiser.latent_grid
        catalogue = discover(self._model)
        self._sites = [sites_of(self._model, catalogue, b.address)[0] for b in catalogue.blocks]
        self._joined = joins_text_first(type(self._model))
        self._lengths: tuple[int, int] | None = None
        self._spans: Sequence[tuple[slice, ...]] = ()
        self._tokens = 0
        self.found: dict[tuple[str, str, str], Tensor] = {}
        """Pooled features, (rows, features) or for phrases (2 rows, features), by block, stream
        and part."""

    def hooks(self) -> list[tuple[str, Hook]]:
        """Hooks for `hooked`, one per block."""
        return [(site.address, self._hook(site)) for site in self._sites]

    def begin(self, spans: Sequence[tuple[slice, ...]], tokens: int) -> None:
        """Start a batch.

        Args:
            spans: the caption's, subject's and object's text tokens per row.
            tokens: text tokens of the conditioning. A model that adds tokens of its own (AuraFlow)
                leaves them without places: its text is averaged whole, and phrases are left out.
        """
        self._spans, self._tokens, self._lengths, self.found = spans, tokens, None, {}

    def _hook(self, site: Site) -> Hook:
        def hook(call: Call) -> None:
            after = items(site, call)
            names = item_streams(site, call, len(after))
            if not self.found:
                self._take(INPUT, site, call.module, skipped_items(call), names)
            self._take(site.address, site, call.module, after, names)

        return hook

    def _take(
        self, block: str, site: Site, module: nn.Module, tensors: Sequence[Any], names: Sequence
    ) -> None:
        pairs = [
            (name, x.transpose(0, site.batch_axis))
            for name, x in zip(names, tensors, strict=True)
            if isinstance(x, Tensor)
        ]
        if {name for name, _ in pairs} == {"text", "image"}:
            lengths = {name: x.shape[1] for name, x in pairs}
            self._lengths = lengths["text"], lengths["image"]
        for name, x in pairs:
            for stream, part in self._split(name, x, module):
                self._pool(block, stream, part.float())

    def _split(self, name: str | None, x: Tensor, module: nn.Module) -> list[tuple[str, Tensor]]:
        """A tensor's streams: itself, or text and image where the model joined them before."""
        if name is not None:
            return [(name, x)]
        rows, columns = self._grid
        first = joins_text_first(innermost(module))
        first = self._joined if first is None else first
        if self._lengths and x.ndim == 3 and x.shape[1] == sum(self._lengths) and first is not None:
            text, image = self._lengths
            parts = x.split([text, image] if first else [image, text], 1)
            return [("text", parts[not first]), ("image", parts[first])]
        whole = x.ndim == 3 and x.shape[1] == rows * columns
        return [("image" if whole else "stream", x)]

    def _pool(self, block: str, stream: str, x: Tensor) -> None:
        if stream != "text":
            self.found[block, stream, "caption"] = self._over_places(x)
            return
        if x.shape[1] != self._tokens:
            self.found[block, stream, "caption"] = x.mean(1)
            return
        means = [
            torch.stack([x[row, spans[part]].mean(0) for row, spans in enumerate(self._spans)])
            for part in range(3)
        ]
        self.found[block, stream, "caption"] = means[0]
        self.found[block, stream, "phrases"] = torch.cat(means[1:])

    def _over_places(self, x: Tensor) -> Tensor:
        """Means over the parts of the picture side by side; over all tokens without a grid."""
        rows, columns = self._grid
        if x.ndim == 4:  # (batch, channels, rows, columns)
            x = x.flatten(2).transpose(1, 2)
        if x.shape[1] != rows * columns or min(rows, columns) < QUADRANTS:
            return x.mean(1)
        grid = x.unflatten(1, (rows, columns)).movedim(-1, 1)
        return nn.functional.adaptive_avg_pool2d(grid, QUADRANTS).flatten(1)


@torch.no_grad()
def read_streams(
    denoiser: Denoiser,
    examples: Examples,
    runs: Sequence[Run],
    sigmas: Sequence[float],
    seed: int,
    batch_size: int,
    reduction: Reduction,
) -> dict[Key, np.ndarray]:
    """Run every picture under every caption at every noise level, and pool the streams.

    The runs of one picture share their noise. At sigma = 1 the model is given noise alone.

    Args:
        denoiser: the model.
        examples: the pictures, whose places the runs name.
        runs: from `caption_runs`.
        sigmas: noise levels.
        seed: of the noise.
        batch_size: rows per forward.
        reduction: shared by all sets of runs that one probe is to read.

    Returns:
        float32 (runs, features); (2 runs, features) for phrases, subjects first.
    """
    reader, device = Reader(denoiser), denoiser.device
    spans = {run.text: _spans(denoiser, run) for run in runs}
    parts: dict[Key, list[np.ndarray]] = {}
    with hooked(denoiser.model, reader.hooks()):
        for start in range(0, len(runs), batch_size):
            rows = runs[start : start + batch_size]
            chosen = [run.example for run in rows]
            latents = examples.latents[chosen].to(device)
            conditioning = denoiser.encode_prompts([run.text for run in rows])
            for level, sigma in enumerate(sigmas):
                shape = latents.shape[1:]
                noise = [noise_for(examples.ids[i], shape, seed, level, 0) for i in chosen]
                pictures = torch.zeros_like(latents) if sigma == 1 else latents
                tokens = conditioning.prompt_embeds.shape[1]
                reader.begin([spans[run.text] for run in rows], tokens)
                noised_batch(denoiser, pictures, torch.stack(noise).to(device), sigma, conditioning)
                for (block, stream, part), x in reader.found.items():
                    key = Key(block, stream, level, part)
                    parts.setdefault(key, []).append(reduction(key, x))
    return {key: _joined(key, found) for key, found in parts.items()}


def _joined(key: Key, found: Sequence[np.ndarray]) -> np.ndarray:
    if key.part != "phrases":
        return np.concatenate(found)
    halves = [np.split(x, 2) for x in found]
    return np.concatenate([half[role] for role in (0, 1) for half in halves])


def _spans(denoiser: Denoiser, run: Run) -> tuple[slice, ...]:
    """Text tokens of the caption, of its subject and of its object."""
    return (
        denoiser.token_span(run.text, 0, len(run.text)),
        *(denoiser.token_span(run.text, *phrase) for phrase in run.phrases),
    )
