"""Experts of a mixture: without one it is as if its last matrix were zero."""

import copy

import pytest
import torch
from tiny_language import tiny_language_model, tokens

from ablate2tune.ablation import Ablation, ablated, ablated_rows
from ablate2tune.bake.weight_edits import zero_in_weights
from ablate2tune.components import discover
from ablate2tune.errors import UserError

IDS = tokens(rows=2, length=12)


@torch.no_grad()
def logits(model, ids=IDS) -> torch.Tensor:
    return model(input_ids=ids, use_cache=False).logits


@pytest.mark.parametrize(
    "family",
    ["afmoe", "deepseek_v3", "glm4_moe", "gpt_oss", "minimax", "mixtral", "olmoe", "qwen3_moe"],
)
def test_an_expert_is_as_if_it_wrote_nothing(family: str):
    model = tiny_language_model(family)
    catalogue = discover(model)
    part = next(part for part in catalogue if part.experts)
    one = Ablation(f"{part.address}[experts=1,2]", "zero")
    whole = logits(model)
    with ablated(model, [one]):
        without = logits(model)
    assert torch.equal(logits(model), whole)
    by_hand = copy.deepcopy(model)
    inside = dict(by_hand.get_submodule(part.address).named_parameters())
    for name in [name for name in inside if name.startswith("experts.down_proj")]:
        inside[name].data[[1, 2]] = 0
    assert torch.allclose(logits(by_hand), without, atol=1e-5)
    assert (whole - without).abs().max() > 1e-3
    zero_in_weights(model, catalogue, one)
    assert torch.allclose(logits(model), without, atol=1e-5)


def test_conditions_share_a_forward():
    model = tiny_language_model("mixtral")
    conditions = [[], [Ablation("model.layers.0.mlp[experts=0]", "zero")]]
    whole = logits(model)
    with ablated(model, conditions[1]):
        without = logits(model)
    with ablated_rows(model, conditions):
        both = logits(model, IDS.repeat(2, 1))
    assert torch.allclose(both, torch.cat([whole, without]), atol=1e-5)


@pytest.mark.parametrize(
    ("address", "mode", "says"),
    [
        ("model.layers.0.mlp[experts=4]", "zero", "it has 4 experts, 0 to 3"),
        ("model.layers.0.self_attn[experts=0]", "zero", "role is attention, and it has no experts"),
        ("model.layers.0.mlp[experts=0]", "mean", "does not fit experts"),
        ("model.layers.0.mlp[experts=0]@tokens=1", "zero", "for all tokens"),
    ],
)
def test_what_is_refused(address: str, mode: str, says: str):
    model = tiny_language_model("mixtral")
    with pytest.raises(UserError, match=says), ablated(model, [Ablation(address, mode)]):
        pass
