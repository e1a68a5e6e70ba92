"""The testbed's judge: a small SegFormer that reads objects and depth, trained on Blender's truth.

One network, `SegformerForSemanticSegmentation` with channels: background, one per coloured kind
("red ball"), and depth last. Half of its training pictures went through the testbed's
autoencoder, because generated pictures do too; its error is measured on rendered ones.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from ablate2tune import seeding
from ablate2tune.files import write_json
from ablate2tune.scenes.dataset.records import SceneRecord
from ablate2tune.testbed.optimisation import Parts, Progress, resumable_training
from ablate2tune.testbed.testbed_recipe import PartConfig
from ablate2tune.testbed.vae import to_pixels

MIN_AREA = 0.02
"""Smallest area, as a fraction of the picture, at which the judge calls an object present."""
DEPTH_WEIGHT = 2.0


def build_judge(labels: Sequence[str], seed: int) -> SegformerForSemanticSegmentation:
    """A randomly initialised judge over these labels ("red ball", ...).

    It looks at 32 x 32 places of a picture of 96 x 96 pixels.
    """
    names = ["background", *labels, "depth"]
    torch.manual_seed(seeding.seed_for(seed, "judge-init"))
    return SegformerForSemanticSegmentation(
        SegformerConfig(
            num_encoder_blocks=3,
            depths=[1, 2, 2],
            sr_ratios=[4, 2, 1],
            hidden_sizes=[24, 48, 96],
            patch_sizes=[7, 3, 3],
            strides=[3, 2, 2],
            num_attention_heads=[1, 2, 4],
            mlp_ratios=[2, 2, 2],
            decoder_hidden_size=64,
            hidden_dropout_prob=0.0,
            classifier_dropout_prob=0.0,
            drop_path_rate=0.0,
            id2label=dict(enumerate(names)),
            label2id={name: index for index, name in enumerate(names)},
        )
    )


def label_maps(
    records: Sequence[SceneRecord], masks: np.ndarray, labels: Sequence[str]
) -> np.ndarray:
    """Class maps, 0 background, 1 + index of the label elsewhere, from the scenes' masks.

    These are uint8, (n, height, width): 0 background, 1 subject, 2 object.
    """
    maps = np.zeros_like(masks)
    for index, record in enumerate(records):
        subject = 1 + labels.index(f"{record.subject_colour} {record.subject}")
        thing = 1 + labels.index(f"{record.object_colour} {record.object}")
        maps[index] = np.array([0, subject, thing], dtype=masks.dtype)[masks[index]]
    return maps


def augment(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Blur some pictures and add noise to all, more to some than to others."""
    batch = len(pixels)
    blurred = F.avg_pool2d(F.pad(pixels, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    chosen = torch.rand(batch, 1, 1, 1, generator=generator) < 0.3
    strength = 0.1 * torch.rand(batch, 1, 1, 1, generator=generator)
    noise = torch.randn(pixels.shape, generator=generator)
    return torch.where(chosen.to(pixels.device), blurred, pixels) + (strength * noise).to(pixels)


def paste(
    pixels: Tensor, classes: Tensor, depth: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Copy one object of another scene over half of the pictures (Ghiasi et al. 2021).

    Some pairs of objects never occur in the training scenes; without this the judge reads an
    object's kind from what usually stands beside it.

    Pixels are (batch, 3, height, width), class indices (0 background) and depth (batch, height,
    width); the pasted objects are in all three.
    """
    batch = len(pixels)
    other = torch.randperm(batch, generator=generator)
    highest = torch.rand(batch, generator=generator) < 0.5
    chosen = torch.rand(batch, generator=generator) < 0.5
    theirs = classes[other]
    top = theirs.amax(dim=(1, 2))
    bottom = torch.where(theirs > 0, theirs, theirs.max() + 1).amin(dim=(1, 2))
    which = torch.where(highest.to(top.device), top, bottom)
    here = (theirs == which[:, None, None]) & (theirs > 0)
    here &= chosen.to(here.device)[:, None, None]
    return (
        torch.where(here[:, None], pixels[other], pixels),
        torch.where(here, theirs, classes),
        torch.where(here, depth[other], depth),
    )


def judge_loss(logits: Tensor, classes: Tensor, depth: Tensor) -> Tensor:
    """Cross entropy over all pixels plus L1 of the depth over the objects' pixels.

    Logits are (batch, 1 + labels + 1, h, w), upsampled here to the size of the class indices and
    the normalised depth, (batch, height, width).
    """
    logits = F.interpolate(logits, size=classes.shape[-2:], mode="bilinear", align_corners=False)
    objects = classes > 0
    wrong_depth = (logits[:, -1] - depth).abs()[objects].mean()
    return F.cross_entropy(logits[:, :-1], classes) + DEPTH_WEIGHT * wrong_depth


def train_judge(
    judge: SegformerForSemanticSegmentation,
    pictures: Sequence[np.ndarray],
    classes: np.ndarray,
    depth: np.ndarray,
    config: PartConfig,
    seed: int,
    work: Path,
    on_progress: Progress | None = None,
) -> None:
    """Train the judge in place.

    `pictures` are versions of the same scenes (rendered, autoencoded), each uint8 (n, height,
    width, 3); a version is drawn per example. Class maps are uint8, the normalised depth float32,
    both (n, height, width). `work` is the folder of the training state.
    """
    device = judge.device

    def parts_at(step: int) -> Parts:
        rng = seeding.numpy_generator(seed, "judge-batch", step)
        rows = rng.integers(len(classes), size=config.batch_size)
        versions = rng.integers(len(pictures), size=config.batch_size)
        batch = np.stack([pictures[v][r] for v, r in zip(versions, rows, strict=True)])
        generator = seeding.torch_generator(seed, "judge-noise", step)
        target = torch.from_numpy(classes[rows]).long().to(device)
        metres = torch.from_numpy(depth[rows]).to(device)
        pixels, target, metres = paste(to_pixels(batch, device), target, metres, generator)
        pixels = augment(pixels, generator)
        return [lambda: judge_loss(judge(pixels).logits, target, metres)]

    resumable_training("judge", judge, parts_at, config, work, on_progress, weight_decay=1e-4)


def save_judge(
    judge: SegformerForSemanticSegmentation, folder: Path, depth_scale: float, depth_offset: float
) -> None:
    """Write the judge as a transformers model directory plus `judge.json`."""
    judge.save_pretrained(folder)
    write_json(
        folder / "judge.json",
        {
            "schema": "ablate2tune/judge/1",
            "depth_scale": depth_scale,
            "depth_offset": depth_offset,
            "min_area": MIN_AREA,
        },
    )
