"""The parts of the testbed's training on small inputs."""

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_parts import TINY

from ablate2tune.scenes.dataset.records import SceneRecord
from ablate2tune.testbed.architecture import build_pipeline
from ablate2tune.testbed.judge import build_judge, judge_loss, label_maps, paste
from ablate2tune.testbed.pretraining import pretraining_caption
from ablate2tune.testbed.testbed_recipe import CaptionMix
from ablate2tune.testbed.text import (
    UNRELATED,
    TextHeads,
    linear_probe,
    standings,
    text_loss,
    word_list,
)
from ablate2tune.testbed.vae import peak_signal_to_noise, set_latent_scale, to_pixels


def record(**changes: str) -> SceneRecord:
    values = {
        "file_name": "images/x.png",
        "text": "a red ball behind a blue cube",
        "relation": "behind",
        "subject": "ball",
        "subject_colour": "red",
        "object": "cube",
        "object_colour": "blue",
        "foil": "",
        "foil_colour": "",
        "foil_object": "",
        "pair_text": "",
        "scene_id": "x",
        "group_id": "g",
        "split": "train",
    }
    return SceneRecord(**{**values, **changes}, seed=0, folder=Path())


def test_caption_mix_rates() -> None:
    """Half state a relation; a fifth of those are wrong, half of them the opposite."""
    mix = CaptionMix(relation_stated=0.5, relation_wrong=0.2, opposite=0.5, dropped=0.1)
    rng = random.Random(0)
    drawn = Counter(pretraining_caption(record(), mix, rng) for _ in range(20_000))
    share = {caption: count / 20_000 for caption, count in drawn.items()}
    stated = 0.9 * 0.5
    assert share[""] == pytest.approx(0.1, abs=0.01)
    assert share["a red ball behind a blue cube"] == pytest.approx(stated * 0.8, abs=0.01)
    assert share["a red ball in front of a blue cube"] == pytest.approx(stated * 0.1, abs=0.01)
    assert share["a red ball left of a blue cube"] == pytest.approx(stated * 0.1 / 4, abs=0.005)
    assert share["a red ball and a blue cube"] == pytest.approx(0.9 * 0.5 / 2, abs=0.01)
    assert share["a blue cube and a red ball"] == pytest.approx(0.9 * 0.5 / 2, abs=0.01)


def test_standings_by_hand() -> None:
    """Words of the first object stand as stated, those of the second the opposite way."""
    told = standings("an orange cup in front of a red car")
    front, behind, none = 2, 3, UNRELATED  # as RELATIONS lists them
    assert told[:9] == [front] * 3 + [none] * 3 + [behind] * 3
    assert set(told[9:]) == {none}
    assert set(standings("a red ball and a blue cube")) == {none}


def test_text_objective_can_be_learnt() -> None:
    """Ten steps on one batch lower the loss; an encoder blind to order could not."""
    pipe = build_pipeline(word_list(), TINY, seed=0)
    heads = TextHeads(pipe).requires_grad_(True)
    optimizer = torch.optim.AdamW(heads.parameters(), lr=1e-2)
    captions = ["a red ball left of a blue cube", "a blue cube left of a red ball"]
    losses = []
    for _ in range(30):
        loss = text_loss(pipe, heads, captions, torch.Generator().manual_seed(1))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3


def test_linear_probe_reads_what_is_there_and_nothing_else() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (1000,), generator=generator)
    noise = torch.randn(1000, 8, generator=generator)
    told = noise.clone()
    told[:, 3] += 6 * labels
    assert linear_probe(told, labels) > 0.98
    assert 0.4 < linear_probe(noise, labels) < 0.6


def test_latents_are_scaled_to_unit_variance() -> None:
    vae = build_pipeline(word_list(), TINY, seed=0).vae
    images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    set_latent_scale(vae, images)
    with torch.no_grad():
        latents = vae.encode(to_pixels(images)).latent_dist.mean
    latents = (latents - vae.config.shift_factor) * vae.config.scaling_factor
    assert latents.mean().item() == pytest.approx(0, abs=0.02)
    assert latents.std().item() == pytest.approx(1, abs=0.02)


def test_peak_signal_to_noise_by_hand() -> None:
    """A constant error of 5 grey values: 20 log10(255 / 5)."""
    images = np.full((1, 4, 4, 3), 100, np.uint8)
    assert peak_signal_to_noise(images, images + 5) == pytest.approx(34.151, abs=1e-3)


def test_label_maps() -> None:
    masks = np.array([[[0, 1], [2, 1]]], np.uint8)
    labels = ["blue cube", "red ball"]
    assert label_maps([record()], masks, labels).tolist() == [[[0, 2], [1, 2]]]


def test_judge_loss_by_hand() -> None:
    """One pixel of background at even odds, one of an object told surely; depth off by 0.5."""
    logits = torch.zeros(1, 3, 1, 2)
    logits[0, 1, 0, 1] = 100.0
    logits[0, 2, 0, 1] = 1.0
    classes = torch.tensor([[[0, 1]]])
    depth = torch.tensor([[[9.0, 0.5]]])
    expected = float(np.log(2)) / 2 + 2.0 * 0.5
    assert judge_loss(logits, classes, depth).item() == pytest.approx(expected, abs=1e-5)


def test_pasting_carries_one_whole_object_in_picture_classes_and_depth() -> None:
    batch = 64
    classes = torch.zeros(batch, 4, 4, dtype=torch.long)
    classes[:, 0, :2] = 1 + 2 * torch.arange(batch)[:, None]  # every object its own class
    classes[:, 3, 2:] = 2 + 2 * torch.arange(batch)[:, None]
    pixels = (classes / 1000.0)[:, None].expand(-1, 3, -1, -1).clone()
    generator = torch.Generator().manual_seed(0)
    new_pixels, new_classes, new_depth = paste(pixels, classes, classes * 10.0, generator)
    assert torch.equal(new_pixels, (new_classes / 1000.0)[:, None].expand(-1, 3, -1, -1))
    assert torch.equal(new_depth, new_classes * 10.0)
    changed = 0
    for before, after in zip(classes, new_classes, strict=True):
        places = [
            region
            for region in ((0, slice(0, 2)), (3, slice(2, 4)))
            if not torch.equal(before[region], after[region])
        ]
        changed += len(places)
        assert len(places) <= 1
        outside = after.clone()
        for region in ((0, slice(0, 2)), (3, slice(2, 4))):
            assert after[region].unique().numel() == 1, "objects come whole"
            outside[region] = 0
        assert not outside.any(), "only objects are pasted"
    assert batch // 4 < changed < 3 * batch // 4


def test_judge_has_a_channel_per_label_and_depth() -> None:
    judge = build_judge(["red ball", "blue cube"], seed=0)
    assert judge.config.id2label == {0: "background", 1: "red ball", 2: "blue cube", 3: "depth"}
    assert judge(torch.zeros(1, 3, 96, 96)).logits.shape == (1, 4, 32, 32)
