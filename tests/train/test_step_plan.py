import math
from random import Random

import pytest
import torch

from ablate2tune.errors import UserError
from ablate2tune.scenes.dataset.records import SceneRecord
from ablate2tune.scenes.scenes_config import CaptionRates
from ablate2tune.train.step_plan import (
    batch_at,
    captions_of,
    choose_caption,
    examples_at,
    learning_rate_at,
    split_records,
)
from ablate2tune.train.train_config import TrainConfig


def test_an_epoch_shows_every_example_once():
    seen = [i for step in (1, 2, 3, 4) for i in examples_at(7, step, batch_size=3, count=6)]
    assert sorted(seen[:6]) == sorted(seen[6:]) == [0, 1, 2, 3, 4, 5]
    assert seen[:6] != seen[6:]


def test_a_batch_may_be_larger_than_the_data():
    drawn = examples_at(0, 1, batch_size=5, count=2)
    assert sorted(drawn[:2]) == sorted(drawn[2:4]) == [0, 1]


def test_processes_partition_the_batch(records: list[SceneRecord], config: TrainConfig):
    shape = torch.Size((4, 16))
    whole = batch_at(3, 5, records, shape, config, 1.0)
    for processes in (1, 2, 3, 4, 6):
        parts = [whole.part(i, processes) for i in range(processes)]
        assert [e for part in parts for e in part.examples] == whole.examples
        assert [c for part in parts for c in part.captions] == whole.captions
        assert [f for part in parts for f in part.foils] == whole.foils
        assert [k for part in parts for k in part.kept] == whole.kept
        assert torch.equal(torch.cat([part.sigma for part in parts]), whole.sigma)
        assert torch.equal(torch.cat([part.noise for part in parts]), whole.noise)


def test_steps_draw_anew_and_a_step_draws_the_same(records: list[SceneRecord], config: TrainConfig):
    first, again, other = (
        batch_at(3, step, records, torch.Size((4, 16)), config, 1.0) for step in (5, 5, 6)
    )
    assert torch.equal(first.noise, again.noise) and torch.equal(first.sigma, again.sigma)
    assert not torch.equal(first.noise, other.noise)
    assert not torch.equal(first.sigma, other.sigma)


def test_caption_fractions(records: list[SceneRecord]):
    config = TrainConfig(caption_dropout=0.25, plain_captions=0.5)

    def chosen(draw: float) -> str:
        return choose_caption(records[0], draw, config, CaptionRates(), Random(0)).text

    assert chosen(0.0) == chosen(0.24) == ""
    assert chosen(0.25) == chosen(0.74) == "a red ball and a green cube"
    assert chosen(0.75) == "a red ball left of a green cube"


def test_captions_by_the_data_sets_rates(records: list[SceneRecord]):
    config, shape = TrainConfig(plain_captions=0.0, batch_size=60), torch.Size((4, 16))
    rates = CaptionRates(foil=0.3, bare=0.5)
    batch = batch_at(3, 1, records, shape, config, 1.0, rates)
    assert batch.captions == batch_at(3, 1, records, shape, config, 1.0, rates).captions
    seen = {
        (records[i].scene_id, text) for i, text in zip(batch.examples, batch.captions, strict=True)
    }
    known = {(r.scene_id, text) for r in records for text in captions_of(r, config, rates)}
    assert seen <= known
    first = {text for scene, text in seen if scene == records[0].scene_id}
    assert first <= {
        "a red ball left of a green cube", "a ball left of a cube",
        "a red ball right of a green cube", "a ball right of a cube",
    }  # fmt: skip
    foils = sum(text in (r.foil for r in records) for text in batch.captions)
    bare = sum(len(text.split()) < 7 for text in batch.captions)
    assert 0 < foils < 30 and 15 < bare < 45
    assert set(batch_at(3, 1, records, shape, config, 1.0).captions) == {r.text for r in records}


SHAPE = torch.Size((4, 16))


def test_only_a_stated_relation_has_a_foil(records: list[SceneRecord]):
    config = TrainConfig(batch_size=60, caption_dropout=0.2, plain_captions=0.3, contrast=1.0)
    batch = batch_at(3, 1, records, SHAPE, config, 1.0)
    for index, text, foil in zip(batch.examples, batch.captions, batch.foils, strict=True):
        assert foil == (records[index].foil if text == records[index].text else None)
    assert 0 < batch.foils.count(None) < 60
    off = batch_at(3, 1, records, SHAPE, config.model_copy(update={"contrast": 0.0}), 1.0)
    assert off.foils == [None] * 60 and off.captions == batch.captions
    assert torch.equal(off.noise, batch.noise) and torch.equal(off.sigma, batch.sigma)


def test_a_foil_is_worded_as_its_caption(records: list[SceneRecord]):
    config = TrainConfig(plain_captions=0.0, batch_size=60, contrast=1.0)
    rates = CaptionRates(foil=0.3, bare=0.5)
    batch = batch_at(3, 1, records, SHAPE, config, 1.0, rates)
    turned = {" left of ": " right of ", " right of ": " left of "}
    for index, text, foil in zip(batch.examples, batch.captions, batch.foils, strict=True):
        stated = next(words for words in turned if words in text)
        if stated.strip() != records[index].relation:  # a false caption
            assert foil is None
        else:
            assert foil == text.replace(stated, turned[stated])
            assert foil in captions_of(records[index], config, rates)
    assert 5 < batch.foils.count(None) < 30


def test_high_noise_follows_from_seed_step_and_row(records: list[SceneRecord]):
    config = TrainConfig(batch_size=60, contrast=1.0, retention=1.0, plain_captions=0.2)
    mixed = config.model_copy(update={"high_noise": 0.5, "high_shift": 1e9})
    first, again = (batch_at(3, 1, records, SHAPE, mixed, 1.0) for _ in range(2))
    assert torch.equal(first.sigma, again.sigma)
    usual = batch_at(3, 1, records, SHAPE, config, 1.0)
    high = first.sigma > 1 - 1e-6
    assert torch.equal(first.sigma[~high], usual.sigma[~high]) and 15 < high.sum() < 45
    # Contrasted at high noise alone; retained are low noise and captions without a relation.
    rows = zip(first.captions, first.foils, first.kept, high.tolist(), usual.foils, strict=True)
    for text, foil, kept, here, usual_foil in rows:
        assert foil == (usual_foil if here else None)
        assert kept == (not here or " of " not in text)
    assert usual.kept == [" of " not in text for text in usual.captions]
    assert torch.equal(first.noise, usual.noise) and first.captions == usual.captions
    other = batch_at(3, 2, records, SHAPE, mixed, 1.0)
    assert not torch.equal(other.sigma > 1 - 1e-6, high)


def test_an_adapter_that_acts_above_a_level_is_taught_there_alone(records: list[SceneRecord]):
    config = TrainConfig(batch_size=60, contrast=1.0, retention=1.0, high_noise=0.5)
    everywhere = batch_at(3, 1, records, SHAPE, config, 1.0)
    above = batch_at(3, 1, records, SHAPE, config.model_copy(update={"acts_above": 0.8}), 1.0)
    torch.testing.assert_close(above.sigma, 0.8 + 0.2 * everywhere.sigma)
    assert above.foils == everywhere.foils and above.captions == everywhere.captions
    # All of them teach, the lower ones too: what is retained are captions without a relation.
    assert above.kept == [" of " not in text for text in above.captions] != everywhere.kept


def test_validation_takes_whole_groups_from_the_end(records: list[SceneRecord]):
    split = split_records(records, validation_images=3)
    assert [r.scene_id for r in split.validation] == [
        "train004-0",
        "train004-1",
        "train005-0",
        "train005-1",
    ]
    assert [r.group_id for r in split.train] == [f"train{g:03d}" for g in range(4) for _ in "ab"]


def test_too_few_images(records: list[SceneRecord]):
    with pytest.raises(UserError, match="11 of 12 training images leave none"):
        split_records(records, validation_images=11)
    with pytest.raises(UserError, match="no training images"):
        split_records([r for r in records if r.split == "test"], validation_images=2)


def test_learning_rate_by_hand():
    config = TrainConfig(learning_rate=0.8, warmup=3, steps=7)
    rates = [learning_rate_at(step, config) for step in range(1, 8)]
    eighth = math.sqrt(0.5)  # cos(pi / 4)
    by_hand = [0.2, 0.4, 0.6, 0.8, 0.4 * (1 + eighth), 0.4, 0.4 * (1 - eighth)]
    assert rates == pytest.approx(by_hand)
