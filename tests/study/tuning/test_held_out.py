"""The held-out margin against one caption at a time, and the drift's distances by hand."""

import numpy as np
import pytest
import torch

from ablate2tune.errors import UserError
from ablate2tune.localize.margins.caption_losses import GUIDANCE, noise_for
from ablate2tune.models import FluxDenoiser
from ablate2tune.scenes.dataset.records import load_images
from ablate2tune.study.tuning import drift, held_out


def test_margins_are_the_foils_losses_minus_the_true_ones(
    tiny_flux: FluxDenoiser, make_records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_out, "BATCH", 6)
    records = make_records(3, split="test")
    rows = held_out.held_out_margins(tiny_flux, records, seed=4)
    for record, row in zip(records, rows, strict=True):
        latents = tiny_flux.encode_images(load_images([record])).float()
        losses = []
        for text in (record.text, record.foil):
            told = tiny_flux.encode_prompts([text])
            drawn = [
                noise_for(record.scene_id, latents.shape[1:], 4, 0, draw)[None]
                for draw in range(held_out.NOISES)
            ]
            with torch.no_grad():
                each = [
                    tiny_flux.denoising_loss(latents, noise, torch.ones(1), told, GUIDANCE).item()
                    for noise in drawn
                ]
            losses.append(sum(each) / len(each))
        assert row["margin"] == pytest.approx(losses[1] - losses[0], abs=1e-5)
        assert (row["relation"], row["group"]) == (record.relation, record.group_id)
    assert any(abs(row["margin"]) > 1e-4 for row in rows)


def test_relations_count_alike() -> None:
    rows = [{"relation": "a", "margin": m} for m in (1.0, 3.0)] + [{"relation": "b", "margin": 8.0}]
    assert held_out.by_relation(rows) == {"a": 2.0, "b": 8.0}


def test_without_test_scenes_it_is_one_line(make_records) -> None:
    with pytest.raises(UserError, match="no test scenes to measure a margin on"):
        held_out.test_scenes(make_records(1, split="train"))


def test_distances_by_hand() -> None:
    base = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    assert drift.prediction_drift(base, base) == 0
    assert drift.prediction_drift(base, 2 * base) == pytest.approx(1)
    assert drift.prediction_drift(base, base + 1) == pytest.approx(4 / 29)
    # Distances 5 and 1 over norms 5 and 2.
    moved = torch.tensor([[0.0, 0.0], [0.0, 3.0]])
    assert drift.feature_drift(base, moved) == pytest.approx((1 + 0.5) / 2)
    black, half = np.zeros((2, 1, 1, 3), np.uint8), np.full((2, 1, 1, 3), 51, np.uint8)
    assert drift.pixel_drift(black, half) == pytest.approx(0.2)
    assert drift.pixel_drift(half, black) == pytest.approx(0.2)


def test_predictions_without_a_relation(tiny_flux: FluxDenoiser, make_records) -> None:
    records = make_records(2, split="test")
    first, again = (drift.plain_predictions(tiny_flux, records, 1) for _ in range(2))
    assert torch.equal(first.predicted, again.predicted) and first.loss == again.loss
    assert len(first.predicted) == 4 * len(drift.SIGMAS)
    with torch.no_grad():
        name = "single_transformer_blocks.0.proj_out.weight"
        tiny_flux.model.get_parameter(name).mul_(1.5)
    moved = drift.plain_predictions(tiny_flux, records, 1)
    assert drift.prediction_drift(first.predicted, moved.predicted) > 1e-4
