import pytest
from diffusers import FluxTransformer2DModel
from pydantic import ValidationError
from torch import nn

from ablate2tune.components import discover
from ablate2tune.errors import UserError
from ablate2tune.train.targets import check_choice, choose_targets, reasons, told
from ablate2tune.train.train_config import TrainConfig


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


@pytest.fixture(scope="module")
def catalogue(model):
    return discover(model)


FF = ["transformer_blocks.1.ff.net.0.proj", "transformer_blocks.1.ff.net.2"]
OUT = ["single_transformer_blocks.0.proj_out"]
QKV = [f"single_transformer_blocks.1.attn.to_{x}" for x in "qkv"]
RANKING = {
    "verdict": "ranked",
    "components": [
        {"level": "block", "rank_in_level": 1, "lora_targets": ["single_transformer_blocks.1.x"]},
        {"level": "sublayer", "rank_in_level": 3, "lora_targets": QKV},
        {"level": "sublayer", "rank_in_level": 1, "lora_targets": FF},
        {"level": "sublayer", "rank_in_level": 2, "lora_targets": OUT},
    ],
}


def config(**values) -> TrainConfig:
    return TrainConfig.model_validate(values)


def all_linears(model) -> set[str]:
    return {
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and "transformer_blocks." in name and ".norm" not in name
    }


@pytest.mark.parametrize(
    ("targets", "count", "expected"),
    [
        ("top", 4, [*FF, *OUT, QKV[0]]),
        ("top", 1, FF[:1]),
        ("bottom", 4, [*QKV, *OUT]),
        ("bottom", 6, [*QKV, *OUT, *FF]),
    ],
)
def test_by_rank(catalogue, targets: str, count: int, expected: list[str]):
    assert choose_targets(RANKING, config(targets=targets, count=count), catalogue, 0) == expected


def projection(address: str, place: int) -> dict:
    return {
        "address": address, "level": "projection", "rank_in_level": place,
        "lora_targets": [address],
    }  # fmt: skip


CHOSEN = {
    "verdict": "ranked",
    "components": [projection(name, place) for place, name in enumerate([*FF, *OUT, *QKV], 1)],
    "set": [{"address": name, "settled": True} for name in (QKV[1], OUT[0])],
}


@pytest.mark.parametrize(
    ("targets", "count", "expected"),
    [
        ("top", 2, [QKV[1], *OUT]),
        ("top", 4, [QKV[1], *OUT, *FF]),
        ("bottom", 2, [QKV[2], QKV[1]]),
    ],
)
def test_by_the_set_of_a_ranking(catalogue, targets: str, count: int, expected: list[str]):
    assert choose_targets(CHOSEN, config(targets=targets, count=count), catalogue, 0) == expected


def test_neighbours_stand_behind_in_their_own_stack(catalogue):
    """The first single block has none before it: the last double block is of another stack."""
    chosen = choose_targets(RANKING, config(count=3, neighbours=1), catalogue, 0)
    zero = [name.replace(".1.", ".0.", 1) for name in FF]
    assert chosen == [*FF, *OUT, *zero, "single_transformer_blocks.1.proj_out"]
    assert choose_targets(RANKING, config(count=3, neighbours=8), catalogue, 0) == chosen
    alone = choose_targets(None, config(targets="random", count=2), catalogue, 5)
    more = choose_targets(None, config(targets="random", count=2, neighbours=1), catalogue, 5)
    assert more[:2] == alone and len(more) == len({*more}) == 4


@pytest.mark.parametrize(
    "values",
    [{"targets": "all"}, {"targets": "list"}, {"budget": 9}, {"targets": "top", "ranks": "impact"}],
)
def test_neighbours_of_what(values: dict):
    with pytest.raises(ValidationError, match="neighbours"):
        config(neighbours=1, **values)


def test_the_reasons_for_targets_have_their_places_in_the_set():
    rows = reasons(CHOSEN, [OUT[0], FF[0]])
    assert [row["address"] for row in rows] == [FF[0], OUT[0]]
    assert "set" not in rows[0]
    assert rows[1]["set"] == {"place": 2, "address": OUT[0], "settled": True}
    without = {"components": CHOSEN["components"]}
    assert reasons(without, OUT) == [CHOSEN["components"][2]]


def test_all_are_the_linears_of_all_blocks_but_modulation(model, catalogue):
    chosen = choose_targets(None, config(targets="all"), catalogue, 0)
    assert set(chosen) == all_linears(model)
    assert len(chosen) == len(set(chosen))


def test_random_draws(model, catalogue):
    draws = [
        choose_targets(None, config(targets="random", count=5, draw=draw), catalogue, seed)
        for seed, draw in [(0, 0), (0, 0), (0, 1), (1, 0)]
    ]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]
    assert draws[0] != draws[3]
    for chosen in draws:
        assert len(set(chosen)) == 5
        assert set(chosen) <= all_linears(model)


def test_random_is_uniform_over_modules(model, catalogue):
    candidates = all_linears(model)
    counts = dict.fromkeys(candidates, 0)
    for draw in range(400):
        chosen = choose_targets(None, config(targets="random", count=4, draw=draw), catalogue, 0)
        for name in chosen:
            counts[name] += 1
    expected = 400 * 4 / len(candidates)
    chi_square = sum((n - expected) ** 2 / expected for n in counts.values())
    assert chi_square < 2 * len(candidates)  # 34 modules: mean 33, standard deviation 8


def test_list(catalogue):
    modules = [
        "single_transformer_blocks.0.proj_out",
        "*.1.attn.to_[qkv]",
        "transformer_blocks.1.ff",
    ]
    chosen = choose_targets(None, config(targets="list", modules=modules), catalogue, 0)
    double = [f"transformer_blocks.1.attn.to_{x}" for x in "qkv"]
    assert set(chosen) == {*OUT, *QKV, *double, *FF}
    assert len(chosen) == 9


@pytest.mark.parametrize(
    ("ranking", "settings", "message"),
    [
        (RANKING, {"targets": "top", "count": 7}, "7 modules wanted, the swept parts hold 6"),
        (
            None,
            {"targets": "random", "count": 999},
            "999 modules wanted, the model's blocks hold 34",
        ),
        (None, {"targets": "top"}, "need a ranking"),
        ({"verdict": "no skill to localize", "components": []}, {"targets": "top"}, "no skill"),
        (None, {"targets": "list"}, "the list is empty"),
        (None, {"targets": "list", "modules": ["transformer_blocks.7"]}, "matches no component"),
        (
            {
                "verdict": "ranked",
                "components": [
                    {"level": "sublayer", "rank_in_level": 1, "lora_targets": ["x.9.q"]}
                ],
            },
            {"targets": "top", "count": 1},
            r"x\.9\.q: the ranking names a module that this model does not have",
        ),
    ],
)
def test_bad_input(catalogue, ranking, settings, message: str):
    with pytest.raises(UserError, match=message):
        choose_targets(ranking, config(**settings), catalogue, 0)


def test_without_skill_all_are_trained_only_if_asked(model, catalogue):
    empty = {"verdict": "no skill to localize", "components": []}
    with pytest.raises(UserError, match="if_no_skill=all"):
        choose_targets(empty, config(targets="top"), catalogue, 0)
    chosen = choose_targets(empty, config(targets="top", if_no_skill="all"), catalogue, 0)
    assert set(chosen) == all_linears(model)
    ranked = choose_targets(
        RANKING, config(targets="top", count=1, if_no_skill="all"), catalogue, 0
    )
    assert ranked == FF[:1]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        # Sides of the largest linear layers: 8 and 32; so 8 is the most that any has room for.
        ({"targets": "top", "rank": 9}, "rank 9 is more than"),
        ({"targets": "top", "count": 999, "rank": 1}, "999 modules wanted, the model's blocks"),
        ({"targets": "list", "modules": ["no_such.*"]}, "no_such"),
        ({"targets": "all", "rank": 9}, "rank 9 is more than"),
    ],
)
def test_what_no_ranking_could_make_possible_is_refused_without_one(model, values, words):
    listed = {"modules": OUT} if values["targets"] == "list" else {}
    check_choice(model, config(**values | {"rank": 8, "count": 4} | listed), 0)
    with pytest.raises(UserError, match=words):
        check_choice(model, config(**values), 0)


def test_modules_are_told_block_by_block_in_lines_that_fit():
    names = [f"transformer_blocks.{i}.attn.{x}" for i in (3, 12) for x in ("to_q", "to_out.0")]
    assert told(names) == [
        "  transformer_blocks.3   attn.to_q attn.to_out.0",
        "  transformer_blocks.12  attn.to_q attn.to_out.0",
    ]
    many = told([f"blocks.0.attn.to_{number}" for number in range(20)])
    assert len(many) > 1 and max(map(len, many)) <= 80
    assert " ".join(many).split() == ["blocks.0", *(f"attn.to_{n}" for n in range(20))]
