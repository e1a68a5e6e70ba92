"""Keys that change nothing beside another are told; each pair here is seen to change nothing."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ablate2tune.components import discover
from ablate2tune.models import FluxDenoiser
from ablate2tune.scenes.dataset.records import SceneRecord
from ablate2tune.train import step_plan
from ablate2tune.train.noise_levels import bin_shares
from ablate2tune.train.targets import choose_targets
from ablate2tune.train.train_config import TrainConfig
from ablate2tune.train.watching.idle_keys import idle_in, idle_keys

BESIDE = [
    ({"targets": "all"}, {"count": 3}, "targets: all"),
    (
        {"targets": "list", "modules": ["transformer_blocks.*.attn.to_q"]},
        {"count": 3},
        "targets: list",
    ),
    ({"budget": "1%"}, {"count": 3}, "budget"),
    ({"share": 0.5}, {"count": 3}, "share"),
    ({"targets": "random"}, {"if_no_skill": "all"}, "targets: random"),
    ({"targets": "all"}, {"draw": 2}, "targets: all"),
    ({"method": "full"}, {"rank": 4}, "method: full"),
    ({}, {"length": 64}, "pictures"),
    ({}, {"data_share": 0.5}, "no data"),
    ({}, {"high_shift": 9.0}, "high_noise: 0"),
    ({"high_noise": 1.0}, {"timesteps": "uniform"}, "high_noise: 1"),
    ({"high_noise": 1.0}, {"shift": 2.0}, "high_noise: 1"),
    ({"timesteps": "logit_normal"}, {"shift": 2.0}, "timesteps: logit_normal"),
    ({}, {"contrast_sharpness": 3.0}, "contrast: 0"),
    ({"plain_captions": 1.0}, {"contrast": 2.0}, "captions of which none states a relation"),
    ({"plain_captions": 0.0}, {"retention": 1.0}, "captions that all state a relation"),
]


@pytest.mark.parametrize(("other", "key", "beside"), BESIDE)
def test_what_changes_nothing_is_told(other: dict, key: dict, beside: str) -> None:
    (name,) = key
    assert idle_keys(TrainConfig(**other, **key)) == {name: beside}
    assert idle_keys(TrainConfig(**other)) == {}, "it was not given"
    whole = TrainConfig.model_validate_json(TrainConfig(**other, **key).model_dump_json())
    assert idle_keys(whole) == {name: beside}, "a config that was written out says the same"


@pytest.mark.parametrize(
    "values",
    [
        {"count": 3},
        {"targets": "random", "count": 3, "draw": 2},
        {"if_no_skill": "all", "targets": "bottom"},
        {"rank": 4, "method": "dora"},
        {"text": "a.txt", "length": 64},
        {"data": "folder", "data_share": 0.5},
        {"high_noise": 0.5, "high_shift": 9.0, "timesteps": "flux_shift", "shift": 2.0},
        {"contrast": 2.0, "contrast_sharpness": 3.0, "plain_captions": 0.9},
        {"retention": 1.0},
        {"plain_captions": 0.0, "retention": 1.0, "high_noise": 0.5},
    ],
)
def test_what_counts_is_not_told(values: dict) -> None:
    assert idle_keys(TrainConfig(**values)) == {}


def same_batches(records: list[SceneRecord], *configs: TrainConfig) -> bool:
    batches = [
        step_plan.batch_at(5, step, records, torch.Size((4, 3)), config, config.shift or 3.0)
        for step in range(1, 9)
        for config in configs
    ]
    one, other = batches[::2], batches[1::2]
    return all(
        torch.equal(a.sigma, b.sigma) and a.captions == b.captions
        and a.foils == b.foils and a.kept == b.kept
        for a, b in zip(one, other, strict=True)
    )  # fmt: skip


DRAWN = {"timesteps", "shift", "high_shift", "contrast", "retention", "draw", "count", "length"}


@pytest.mark.parametrize(
    ("other", "key"), [(other, key) for other, key, _ in BESIDE if {*key} <= DRAWN]
)
def test_it_changes_nothing(
    make_records: Callable[..., list[SceneRecord]], tmp_path, other: dict, key: dict
) -> None:
    """Of those that speak of a step's draws, and of the levels that validation is weighed by."""
    given = {"batch_size": 8, **other, "timesteps": other.get("timesteps", "flux_shift")}
    one, two = TrainConfig(**given), TrainConfig(**{**given, **key})
    records = make_records(tmp_path, 8)
    assert same_batches(records, one, two)
    shares = [
        bin_shares(8, c.timesteps or "flux_shift", c.shift or 3.0, c.high_noise, c.high_shift)
        for c in (one, two)
    ]
    assert shares[0] == pytest.approx(shares[1])
    # The same key where it counts is seen to change something, by the same look.
    counts = {
        "high_shift": {"high_noise": 0.5}, "timesteps": {}, "shift": {}, "contrast": {},
        "retention": {"plain_captions": 0.5},
    }  # fmt: skip
    (name,) = key
    if name in counts:
        usual = {"batch_size": 8, "timesteps": "flux_shift", **counts[name]}
        changed = TrainConfig(**{**usual, **key})
        assert not same_batches(records, TrainConfig(**usual), changed)


@pytest.mark.parametrize(
    ("other", "key"), [(o, k) for o, k, _ in BESIDE if o.get("targets") and "share" not in o]
)
def test_the_same_modules_are_chosen(tiny_flux: FluxDenoiser, other: dict, key: dict) -> None:
    catalogue = discover(tiny_flux.model)
    chosen = [
        choose_targets(None, TrainConfig(**{"count": 2, **other, **more}), catalogue, 1)
        for more in ({}, key)
    ]
    assert chosen[0] == chosen[1]


@pytest.mark.parametrize(
    ("predicts", "density", "embeds", "values", "words"),
    [
        ("velocity", "flux_shift", True, {"min_snr": 3.0}, ["min_snr = 3.0"]),
        ("velocity", "flux_shift", True, {"shift": 3.0, "guidance": 2.0}, []),
        ("velocity", "flux_shift", False, {"guidance": 2.0}, ["guidance = 2.0"]),
        ("epsilon", "uniform", True, {"min_snr": 3.0, "shift": 3.0}, ["shift = 3.0"]),
        ("epsilon", "uniform", True, {"shift": 3.0, "timesteps": "flux_shift"}, []),
    ],
)
def test_what_changes_nothing_for_a_model(
    predicts: str, density: str, embeds: bool, values: dict, words: list[str]
) -> None:
    studied: Any = SimpleNamespace(
        schedule=SimpleNamespace(predicts=predicts, density=density),
        model=SimpleNamespace(config={"guidance_embeds": embeds}),
    )
    told = list(idle_in(TrainConfig(**values), studied))
    assert len(told) == len(words)
    for line, word in zip(told, words, strict=True):
        assert line.startswith(f"train.{word} changes nothing beside")
