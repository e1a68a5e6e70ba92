import pytest
from diffusers import FluxTransformer2DModel
from pydantic import ValidationError

from ablate2tune.components import discover
from ablate2tune.errors import UserError
from ablate2tune.train.methods.adapter_method import AdapterMethod
from ablate2tune.train.placements.parameter_budget import budget_of, choose, proportional_ranks
from ablate2tune.train.targets import choose_targets
from ablate2tune.train.train_config import TrainConfig

FF0, FF2 = (f"transformer_blocks.1.ff.net.{x}" for x in ("0.proj", "2"))
OUT, Q = "single_transformer_blocks.0.proj_out", "single_transformer_blocks.1.attn.to_q"
SIDES = {FF0: 8 + 32, FF2: 32 + 8, OUT: 40 + 8, Q: 8 + 8}
"""Inputs and outputs of the layers below, of width 8."""
IMPACTS = {FF0: 0.5, FF2: 0.3, OUT: 0.2, Q: -0.1}
RANKING = {
    "verdict": "ranked",
    "ranked_by": "target",
    "components": [
        {"level": "projection", "address": name, "rank_in_level": place, "lora_targets": [name],
         "target": {"value": value}}
        for place, (name, value) in enumerate(IMPACTS.items(), start=1)
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def model() -> FluxTransformer2DModel:
    return FluxTransformer2DModel(
        in_channels=4,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=4,
        num_attention_heads=2,
        joint_attention_dim=8,
        pooled_projection_dim=8,
        axes_dims_rope=(2, 2, 0),
    )


def chosen(model, **values):
    config = TrainConfig.model_validate({"rank": 2, **values})
    return choose(RANKING, config, model, 0, AdapterMethod.cost)


def test_a_budget_takes_the_best_that_still_fit(model) -> None:
    """80 + 80 parameters leave 40 of 200: the third takes 96, the fourth 32."""
    assert chosen(model, budget=200).modules == [FF0, FF2, Q]
    assert chosen(model, budget=200, targets="bottom").modules == [Q, OUT]
    with pytest.raises(UserError, match="smallest has 32 parameters"):
        chosen(model, budget=31)


def test_a_budget_in_percent_is_of_the_models_own(model) -> None:
    total = sum(parameter.numel() for parameter in model.parameters())
    assert budget_of("1%", model) == total // 100
    assert budget_of("0.5 %", model) == int(total * 0.005)
    assert budget_of(None, model) is None


@pytest.mark.parametrize(
    "share, names", [(0.5, [FF0]), (0.6, [FF0, FF2]), (0.8, [FF0, FF2]), (1.0, [FF0, FF2, OUT])]
)
def test_a_share_of_the_impact_of_all_that_help(model, share: float, names: list[str]) -> None:
    assert chosen(model, share=share).modules == names


def test_ranks_are_proportional_to_impact_within_as_many_parameters(model) -> None:
    """5 : 3 : 2 in whole ranks; 6, 4 and 2 take 496 of the 512 that rank 4 takes, 7, 4, 3 more."""
    choice = chosen(model, count=3, rank=4, ranks="impact")
    assert choice.ranks == {FF0: 6, FF2: 4, OUT: 2}
    taken = sum(rank * SIDES[name] for name, rank in choice.ranks.items())
    assert taken <= 4 * sum(SIDES[name] for name in choice.ranks)
    assert chosen(model, count=3).ranks == {}


def test_ranks_are_one_at_least_and_fit_the_layer(model) -> None:
    names = list(IMPACTS)
    cost = AdapterMethod.cost
    assert proportional_ranks(model, names, IMPACTS, 1, cost) == dict.fromkeys(names, 1)
    most = proportional_ranks(model, names, IMPACTS, 10**9, cost)
    assert most == {FF0: 8, FF2: 8, OUT: 8, Q: 1}


def test_placements_of_others(model) -> None:
    big = FluxTransformer2DModel(
        in_channels=4, num_layers=19, num_single_layers=38, attention_head_dim=4,
        num_attention_heads=1, joint_attention_dim=4, pooled_projection_dim=4,
        axes_dims_rope=(2, 2, 0),
    )  # fmt: skip
    catalogue = discover(big)

    def preset(name: str, of=catalogue) -> list[str]:
        return choose_targets(None, TrainConfig(targets="preset", preset=name), of, 0)

    assert preset("flux-7-20") == [f"single_transformer_blocks.{i}.proj_out" for i in (7, 20)]
    assert len(preset("compass")) == 19 * 8 + 4 * 4
    doubles = {name.split(".")[1] for name in preset("stable-flow") if name[0] == "t"}
    assert doubles == {"0", "1", "17", "18"}
    with pytest.raises(UserError, match="for another model"):
        preset("compass", discover(model))
    with pytest.raises(UserError, match="no placement 'compas'; did you mean 'compass'"):
        preset("compas")


@pytest.mark.parametrize(
    "values",
    [
        {"budget": 5, "share": 0.5},
        {"budget": "1%", "targets": "all"},
        {"ranks": "impact", "targets": "random"},
        {"budget": "one percent"},
    ],
)
def test_what_cannot_be_together_is_refused(values) -> None:
    with pytest.raises(ValidationError):
        TrainConfig.model_validate(values)
