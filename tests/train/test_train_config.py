import pytest
from pydantic import ValidationError

from ablate2tune.train.train_config import TrainConfig

TWINS = {"twins": True, "high_noise": 0.5}


@pytest.mark.parametrize(
    "values, words",
    [
        ({"caption_dropout": 0.6, "plain_captions": 0.5}, "are 1.1 of the captions together"),
        ({"contrast": -1}, "greater than or equal to 0"),
        ({"contrast_sharpness": 0}, "greater than 0"),
        ({"high_noise": 1.5}, "less than or equal to 1"),
        ({"guidance": -1}, "greater than or equal to 0"),
        ({"rank": True}, "a number is needed"),
        ({"learning_rate": 1e38}, "less than or equal to 10000000000"),
        ({**TWINS, "twins_from": 0.8, "acts_above": 0.9}, "nothing below acts_above 0.9"),
        ({"keep_checkpoints": 0}, "greater than 0"),
        ({"micro_batch": 0}, "greater than 0"),
        ({"micro_batch": 5, "batch_size": 4}, "micro_batch 5 is more than the 4 of a whole"),
        ({**TWINS, "micro_batch": 3}, "micro_batch 3 would part twins"),
        ({**TWINS, "batch_size": 3}, "high noise: set an even batch_size, not 3, or leave twins"),
        (
            {"targets": "list", "modules": ["a"], "preset": "compass"},
            "preset says nothing beside targets: list; leave it out or set targets to preset",
        ),
        (
            {"targets": "random", "modules": ["a"]},
            "modules says nothing beside targets: random; leave it out or set targets to list",
        ),
        ({"targets": "preset"}, "targets: preset needs the name of a placement; set preset"),
        ({"targets": "list", "modules": [""]}, "at least 1 character"),
        ({"preset": "compass"}, "preset says nothing beside targets: top"),
        ({"warmup": 20, "steps": 20}, "a warm-up of 20 steps leaves none of 20"),
        ({"warmup": 50, "steps": 20}, "a warm-up of 50 steps leaves none of 20"),
    ],
)
def test_what_cannot_be_is_refused(values: dict, words: str):
    with pytest.raises(ValidationError, match=words):
        TrainConfig(**values)


def test_twins_from_where_the_adapter_begins_to_act():
    TrainConfig.model_validate({**TWINS, "twins_from": 0.9, "acts_above": 0.9})
    TrainConfig.model_validate({**TWINS, "twins_from": 0.1})


def test_all_captions_may_be_plain_or_empty():
    TrainConfig(caption_dropout=0.3, plain_captions=0.7)


@pytest.mark.parametrize("steps, warmup", [(400, 20), (40, 20), (15, 7), (1, 0)])
def test_the_usual_warmup_fits_any_run(steps: int, warmup: int):
    assert TrainConfig(steps=steps).warmup_steps == warmup
    assert TrainConfig(steps=steps, warmup=0).warmup_steps == 0


def test_what_only_steers_decides_nothing():
    steered = TrainConfig(checkpoint_every=1, sample_every=2, sample_prompts=3, validate_every=4)
    assert steered.decisive() == TrainConfig().decisive()
    assert TrainConfig(micro_batch=2, keep_checkpoints=4).decisive() == TrainConfig().decisive()
    assert TrainConfig(learning_rate=0.5).decisive() != TrainConfig().decisive()


@pytest.mark.parametrize(
    "batch, micro, processes, at_once",
    [(8, None, 1, 8), (8, None, 3, 3), (8, 2, 1, 2), (8, 2, 8, 1), (8, 8, 1, 8), (1, 1, 2, 1)],
)
def test_what_is_computed_at_once(batch: int, micro: int | None, processes: int, at_once: int):
    assert TrainConfig(batch_size=batch, micro_batch=micro).at_once(processes) == at_once
