"""Ablations as they are typed."""

import pytest
from tiny_language import tiny_language_model

from ablate2tune.ablation.specs import read_ablations
from ablate2tune.components import Catalogue, discover
from ablate2tune.errors import UserError


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return discover(tiny_language_model("llama"))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("model.layers.1", [("model.layers.1", "skip")]),
        ("model.layers.*", [("model.layers.0", "skip"), ("model.layers.1", "skip")]),
        ("model.layers.1=mean", [("model.layers.1", "mean")]),
        ("model.layers.1.mlp", [("model.layers.1.mlp", "zero")]),
        ("model.layers.0.self_attn[heads=1,3]", [("model.layers.0.self_attn[heads=1,3]", "zero")]),
        (
            "model.layers.0.self_attn[heads=1]=channel-mean",
            [("model.layers.0.self_attn[heads=1]", "channel-mean")],
        ),
        (
            "model.layers.*.mlp[neurons=0..5]",
            [
                ("model.layers.0.mlp[neurons=0..5]", "zero"),
                ("model.layers.1.mlp[neurons=0..5]", "zero"),
            ],
        ),
        (
            "model.layers.0.self_attn[heads=*]",
            [(f"model.layers.0.self_attn[heads={head}]", "zero") for head in range(4)],
        ),
        (
            "model.layers.1.self_attn.[qk]_proj=mean",
            [(f"model.layers.1.self_attn.{name}_proj", "mean") for name in "qk"],
        ),
    ],
)
def test_what_is_typed_is_read(catalogue: Catalogue, spec: str, expected: list):
    found = read_ablations(catalogue, [spec, spec])
    assert [(ablation.address, ablation.mode) for ablation in found] == expected


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("model.layers.9", "matches no component"),
        ("model.layers.0=skipp", "did you mean 'skip'"),
        ("model.layers.0.mlp[heads=*]", "has no heads"),
    ],
)
def test_what_is_refused(catalogue: Catalogue, spec: str, says: str):
    with pytest.raises(UserError, match=says):
        read_ablations(catalogue, [spec])
