"""The ranking by scout on a tiny real FLUX: exact, in rounds, resumed to the same files."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from test_localize import favour, plain_margins  # type: ignore[import-not-found]

from ablate2tune import files
from ablate2tune.components import discover
from ablate2tune.contrasts.makers.rendered_scenes import scene_contrasts
from ablate2tune.errors import UserError
from ablate2tune.localize.localize_config import LocalizeConfig
from ablate2tune.localize.localizing import localize
from ablate2tune.localize.scout.scout_training import (
    RANK,
    scout_config,
    scout_steps,
    unmeasured,
)
from ablate2tune.localize.scout.scouting import localize_by_scout
from ablate2tune.localize.stage import check, inputs
from ablate2tune.models import FluxDenoiser, load_denoiser
from ablate2tune.recipe import Recipe
from ablate2tune.train.train_config import TrainConfig

SEED = 11
CONFIG = LocalizeConfig(
    rank_by="scout", groups=6, sigmas=[0.9, 0.6], batch_size=18, bootstrap=200, racing=False
)
TRAINING = TrainConfig(
    rank=8, steps=18, batch_size=4, learning_rate=0.016, validation_images=2, checkpoint_every=2
)
MODULES = 34
"""Linears of the tiny model's blocks: kept are 17, 8 and 4."""


@pytest.fixture(scope="module")
def records(make_records):
    return make_records(9)


@pytest.fixture(scope="module")
def contrasts(tiny_flux_config, records):
    """What the untrained model has a skill for, and three steps of training leave."""
    return favour(load_denoiser(tiny_flux_config), scene_contrasts(records).examples)


@pytest.fixture(scope="module")
def scouted(tiny_flux_config, contrasts, records, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "localize"
    told: list[tuple[int, int]] = []
    ranking = localize_by_scout(
        load_denoiser(tiny_flux_config), contrasts, records, TRAINING, CONFIG, SEED, folder,
        lambda *step: told.append(step),
    )  # fmt: skip
    return folder, ranking, told


def rows(folder: Path) -> list[dict]:
    found = files.read_jsonl(folder / "results.jsonl")
    return [{k: v for k, v in row.items() if k != "seconds"} for row in found]


def test_every_linear_is_ranked_and_the_set_orders_all(scouted, tiny_flux: FluxDenoiser):
    folder, ranking, told = scouted
    data = json.loads((folder / "ranking.json").read_text())
    assert data == json.loads(json.dumps(ranking.data))
    names = [name for block in discover(tiny_flux.model).blocks for name in block.linears]
    assert len(names) == MODULES
    linears = [row for row in data["components"] if row["level"] == "projection"]
    assert {row["address"] for row in linears} == set(names)
    assert sum(row["level"] == "block" for row in data["components"]) == 4
    assert {row["mode"] for row in data["components"]} == {"adapter_off"}
    assert len(linears) + 4 == len(data["components"])
    values = [row["target"]["value"] for row in data["components"]]
    assert values == sorted(values, reverse=True)
    order = [entry["address"] for entry in data["set"]]
    assert sorted(order) == sorted(names)
    assert [entry["round"] for entry in data["set"]] == [3] * 8 + [2] * 9 + [1] * 17
    assert [(one["modules"], one["kept"], one["steps"]) for one in data["scout"]] == [
        (34, 17, 4), (17, 8, 2), (8, 4, 2)
    ]  # fmt: skip
    assert {path.name for path in folder.iterdir()} >= {"heatmap.png", "bars.png", "ranking.csv"}
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_each_round_goes_on_with_those_that_are_missed_most(scouted):
    folder, ranking, _ = scouted
    rows = ranking.data["components"]
    first = [row["address"] for row in rows if row["level"] == "projection"]
    targets = [
        files.read_json(folder / "scout" / f"round-{number}" / "targets.json")
        for number in (1, 2, 3)
    ]
    assert set(targets[1]["requested"]) == set(first[:17])
    assert set(targets[2]["requested"]) < set(targets[1]["requested"])
    assert set(targets[2]["requested"]) == {entry["address"] for entry in ranking.data["set"][:8]}
    assert set(targets[0]["ranks"].values()) == {RANK}
    logs = [
        files.read_jsonl(folder / "scout" / f"round-{number}" / "log.jsonl") for number in (1, 2)
    ]
    # It begins with what was learnt, not with the untouched model.
    assert logs[1][0]["validation"]["mean"] != logs[0][0]["validation"]["mean"]
    assert not list(folder.glob("scout/*/samples"))


def test_an_impact_is_the_margin_that_is_lost_with_the_scale_at_zero(
    scouted, contrasts, tiny_flux: FluxDenoiser
):
    folder, ranking, _ = scouted
    measured = {row["example"] for row in rows(folder)}
    ours = [contrast for contrast in contrasts if contrast.id in measured]
    foils = [contrast.texts["target"] for contrast in ours]
    tiny_flux.load_adapter(folder / "scout" / "round-1" / "adapter")
    # The margins of test_localize are at the same two noise levels.
    whole = plain_margins(tiny_flux, ours, foils).mean()
    assert whole == pytest.approx(ranking.data["baseline"]["target"]["value"], abs=2e-6)
    by_level = {row["level"]: row for row in ranking.data["components"]}
    assert sorted(by_level) == ["block", "projection"]
    for row in by_level.values():
        layers: list[Any] = [tiny_flux.model.get_submodule(x) for x in row["lora_targets"]]
        scale(layers, 0.0)
        lost = whole - plain_margins(tiny_flux, ours, foils).mean()
        scale(layers, 1.0)
        assert lost == pytest.approx(row["target"]["value"], abs=2e-6)


def scale(layers: list[Any], value: float) -> None:
    for layer in layers:
        for name in layer.scaling:
            layer.scaling[name] = value


def test_what_is_measured_is_not_learnt_from(scouted, records):
    folder, _, _ = scouted
    groups = {row["group"] for row in rows(folder)}
    assert len(groups) == 6
    seen = unmeasured(
        records, [c for c in scene_contrasts(records).examples if c.cluster in groups]
    )
    assert {record.group_id for record in seen} == {r.group_id for r in records} - groups
    captions = set(files.read_json(next(folder.glob("cache/*/index.json")))["captions"])
    assert captions == {record.text for record in seen}


class KilledError(Exception):
    pass


@pytest.mark.parametrize(
    "after",
    [8, *(pytest.param(rows, marks=pytest.mark.slow) for rows in (3, 15, 20))],
)
def test_killed_and_resumed_equals_uninterrupted(
    scouted, tiny_flux_config, contrasts, records, tmp_path, after: int
):
    reference, ranking, told = scouted
    arguments = contrasts, records, TRAINING, CONFIG, SEED, tmp_path
    assert after < len(told)
    count = 0

    def kill(done: int, total: int) -> None:
        nonlocal count
        count += 1
        if count == after:
            raise KilledError

    with pytest.raises(KilledError):
        localize_by_scout(load_denoiser(tiny_flux_config), *arguments, kill)
    again = localize_by_scout(load_denoiser(tiny_flux_config), *arguments)
    assert again.data == ranking.data
    for number in (1, 2, 3):
        place = f"scout/round-{number}"
        adapters = [folder / place / "adapter" for folder in (reference, tmp_path)]
        one, other = ({p.name: p.read_bytes() for p in a.iterdir()} for a in adapters)
        assert one == other
        if number > 1:
            assert rows(tmp_path / place) == rows(reference / place)
    assert rows(tmp_path) == rows(reference)


def test_it_races_with_gradients_in_every_round(tiny_flux, contrasts, records, tmp_path):
    racing = CONFIG.model_copy(update={"racing": True})
    ranking = localize_by_scout(tiny_flux, contrasts, records, TRAINING, racing, SEED, tmp_path)
    assert len(ranking.data["set"]) == MODULES
    for folder in (tmp_path, *(tmp_path / "scout" / f"round-{number}" for number in (2, 3))):
        estimated = files.read_jsonl(folder / "screening.jsonl")
        exact = files.read_jsonl(folder / "results.jsonl")
        alone = {tuple(row["condition"]) for row in exact} - {()}
        assert {tuple(row["condition"]) for row in estimated} - {()} <= alone
    told = ranking.data["trust"]["screening"]["projection"]
    assert (told["components"], told["spearman"] > 0.9) == (MODULES, True)


def test_a_scout_that_learns_nothing_says_so(tiny_flux, contrasts, records, tmp_path):
    turned = favour(tiny_flux, contrasts, sign=-1)
    training = TRAINING.model_copy(update={"learning_rate": 1e-9})
    ranking = localize_by_scout(tiny_flux, turned, records, training, CONFIG, SEED, tmp_path)
    assert (ranking.has_skill, ranking.data["components"]) == (False, [])
    assert "set" not in ranking.data
    assert not (tmp_path / "scout" / "round-2").exists()
    assert any("no skill to localize" in line for line in ranking.messages())


def test_its_training_does_not_depend_on_what_train_chooses():
    config = scout_config(TrainConfig(steps=1400, rank=32, warmup=100), 70)
    assert (config.steps, config.rank, config.warmup) == (70, RANK, None)
    other = TrainConfig(steps=1400, rank=32, targets="random", count=3, draw=7)
    assert scout_config(other, 70).decisive() == config.decisive()
    assert scout_config(TrainConfig(rank=2), 70).rank == 2
    assert scout_config(TrainConfig(rank=32, learning_rate=0.5), 70).decisive() != config.decisive()


@pytest.mark.parametrize(
    ("steps", "rounds", "expected"),
    [(280, 3, [70, 35, 35]), (280, 1, [140]), (140, 6, [35, 7, 7, 7, 7, 7]), (1, 3, [3, 1, 1])],
)
def test_it_takes_half_of_trains_steps_half_of_them_first(steps, rounds, expected):
    assert scout_steps(steps, rounds) == expected
    assert scout_steps(9, rounds, asked=steps // 2) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"heads": True}, {"strips": 2}, {"joint": {"pairs": 3}}, {"tokens": ["relation"]},
        {"report_gradient": True}, {"images": "own"}, {"information": "depth"},
    ],
)  # fmt: skip
def test_what_has_no_meaning_beside_a_scout_is_refused(changes):
    with pytest.raises(ValueError, match="rank_by = scout ablates adapters alone; leave"):
        LocalizeConfig.model_validate({"rank_by": "scout", **changes})


def test_a_probe_without_scouts_is_refused(tmp_path):
    with pytest.raises(ValueError, match="probe = generate does not serve scout"):
        LocalizeConfig.model_validate(
            {"rank_by": "scout", "probe": "generate", "mode": "zero", "generate": {"pairs": "x"}}
        )


@pytest.fixture
def recipe(tiny_flux_config, records) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "job",
            "model": tiny_flux_config.model_dump(),
            "scenes": {"folder": str(records[0].folder)},
            "localize": CONFIG.model_dump(exclude_unset=True),
            "train": TRAINING.model_dump(exclude_unset=True),
        }
    )


def test_a_family_that_cannot_be_trained_is_refused_before_any_work(recipe, monkeypatch):
    check(recipe)
    monkeypatch.setattr(FluxDenoiser, "train_obstacle", "its adapters were never compared")
    with pytest.raises(UserError, match="rank_by=scout` does not serve") as refused:
        check(recipe)
    assert "rank_by=impact" in str(refused.value.mend)


def test_weights_of_few_bits_have_no_gradient(recipe):
    few = recipe.model_copy(update={"model": recipe.model.model_copy(update={"quantize": "int8"})})
    check(few)
    asked = recipe.localize.model_copy(update={"report_gradient": True})
    check(recipe.model_copy(update={"localize": asked}))
    with pytest.raises(UserError, match=r"model.quantize = int8: weights of few"):
        check(few.model_copy(update={"localize": asked}))


def test_the_stage_depends_on_how_the_scout_learns(recipe, records, monkeypatch):
    from ablate2tune.localize import stage

    monkeypatch.setattr(stage, "data_identity", lambda _folder: "the data")

    def changed(**values) -> Recipe:
        return recipe.model_copy(update={"train": recipe.train.model_copy(update=values)})

    before = inputs(recipe)
    assert inputs(changed(count=3)) == before
    assert inputs(changed(learning_rate=0.5)) != before
    by_impact = recipe.localize.model_copy(update={"rank_by": "impact"})
    assert "train" not in inputs(recipe.model_copy(update={"localize": by_impact}))


def test_a_sweep_without_adapters_refuses_its_rows(scouted, tiny_flux, contrasts, tmp_path):
    folder, _, _ = scouted
    shutil.copytree(folder, tmp_path / "copy")
    plain = CONFIG.model_copy(update={"rank_by": "impact", "mode": "zero"})
    with pytest.raises(UserError, match="results of another sweep"):
        localize(tiny_flux, contrasts, plain, SEED, tmp_path / "copy")
