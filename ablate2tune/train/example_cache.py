"""Latents and text embeddings, encoded once and kept by example, never by step."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ablate2tune import runs
from ablate2tune.checkpoint import load_state, save_state
from ablate2tune.errors import UserError
from ablate2tune.models import Conditioning, Denoiser
from ablate2tune.scenes.dataset.records import SceneRecord, load_images

CHUNK = 64
"""Pictures or prompts encoded at a time."""


@dataclass(frozen=True)
class ExampleCache:
    """What the denoiser needs of each example, on the CPU."""

    latents: Tensor
    """Packed latents, (examples, tokens, channels), in the order of the records."""
    conditioning: Conditioning
    """One row per distinct caption."""
    rows: dict[str, int]
    """The row of each caption in `conditioning`."""

    def captions(self, captions: Sequence[str]) -> Conditioning:
        """The conditioning of these captions, one row each."""
        return self.conditioning[[self.rows[caption] for caption in captions]]


def encode_examples(
    denoiser: Denoiser, records: Sequence[SceneRecord], captions: Sequence[str], path: Path
) -> None:
    """Encode pictures and captions into one file, unless it holds exactly these already.

    Args:
        denoiser: encodes both.
        records: the examples; their order is the order of the latents.
        captions: every caption that may be asked for; repeats are encoded once.
        path: the file.

    Raises:
        UserError: a picture is not of the model's size, or the file cannot be written.
    """
    key = _content_key(denoiser, records, captions)
    if _holds(path, key):
        return
    distinct = list(dict.fromkeys(captions))
    latents = []
    for start in range(0, len(records), CHUNK):
        images = load_images(list(records[start : start + CHUNK]))
        height, width = denoiser.config.height, denoiser.config.width
        if images.shape[1:3] != (height, width):
            raise UserError(
                f"{images.shape[2]} x {images.shape[1]} pixels, but the model runs at "
                f"{width} x {height}",
                where=str(records[start].image_path),
                mend="render the data set at the model's size (scenes.size)",
            )
        latents.append(denoiser.encode_images(images).cpu())
    embeds, pooled = [], []
    for start in range(0, len(distinct), CHUNK):
        encoded = denoiser.encode_prompts(distinct[start : start + CHUNK])
        embeds.append(encoded.prompt_embeds.cpu())
        assert encoded.pooled is not None, "FLUX has a pooled embedding"
        pooled.append(encoded.pooled.cpu())
    tensors = {
        "latents": torch.cat(latents),
        "prompt_embeds": torch.cat(embeds),
        "pooled": torch.cat(pooled),
    }
    save_state(path, tensors, {"key": key, "captions": distinct})


def read_examples(path: Path) -> ExampleCache:
    """Read what `encode_examples` wrote.

    Raises:
        UserError: the file is damaged.
    """
    tensors, note = load_state(path)
    return ExampleCache(
        latents=tensors["latents"],
        conditioning=Conditioning(tensors["prompt_embeds"], tensors["pooled"]),
        rows={caption: row for row, caption in enumerate(note["captions"])},
    )


def data_key(records: Sequence[SceneRecord], captions: Sequence[str]) -> str:
    """Hash of the pictures and captions.

    Raises:
        UserError: a picture cannot be read.
    """
    try:
        pictures = [hashlib.sha256(r.image_path.read_bytes()).hexdigest() for r in records]
    except OSError as error:
        raise UserError(
            f"cannot read the picture: {error.strerror}",
            where=str(error.filename),
            mend="render the data set again",
        ) from error
    return runs.content_hash(pictures, list(captions))


def _content_key(
    denoiser: Denoiser, records: Sequence[SceneRecord], captions: Sequence[str]
) -> str:
    """Hash of what the tensors depend on: the data, the weight files, size and dtype."""
    fields = {"path", "dtype", "height", "width", "max_sequence_length"}
    root = Path(denoiser.config.path)
    files = [(file, file.stat()) for file in sorted(root.rglob("*.safetensors"))]
    weights = [(str(f.relative_to(root)), s.st_size, s.st_mtime_ns) for f, s in files]
    settings = denoiser.config.model_dump(include=fields)
    return runs.content_hash(data_key(records, captions), settings, weights)


def _holds(path: Path, key: str) -> bool:
    try:
        return path.exists() and load_state(path)[1].get("key") == key
    except UserError:
        return False
