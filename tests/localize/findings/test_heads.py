"""The head level, on a FLUX in which one head alone carries the relation to the image tokens."""

import json

import numpy as np
import planted  # type: ignore[import-not-found]
import pytest
from PIL import Image
from test_localize import CONFIG, SEED, favour, plain_margins  # type: ignore[import-not-found]

from ablate2tune.components import discover, heads_of, select
from ablate2tune.errors import UserError
from ablate2tune.localize.findings.head_table import head_cells, head_conditions
from ablate2tune.localize.localize_config import JointConfig, LocalizeConfig
from ablate2tune.localize.localizing import localize, open_sweep
from ablate2tune.localize.margins.encoded_examples import split_groups
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.measuring.purse import Purse
from ablate2tune.models import load_denoiser
from ablate2tune.testbed.architecture import build_pipeline
from ablate2tune.testbed.text import word_list

HEADS = CONFIG.model_copy(
    update={
        "groups": 16,
        "calibration_groups": 6,
        "racing": False,
        "bootstrap": 100,
        "noise_floor": False,
        "batch_size": 1024,
    }
)


@pytest.fixture(scope="module")
def carrier(tiny_flux_config, tmp_path_factory):
    """The model before planting, with what `restore` needs."""
    folder = tmp_path_factory.mktemp("carrier")
    build_pipeline(word_list(), planted.SIZES, seed=0).save_pretrained(folder)
    denoiser = load_denoiser(tiny_flux_config.model_copy(update={"path": str(folder)}))
    planted.isolate(denoiser)
    state = {name: tensor.clone() for name, tensor in denoiser.model.state_dict().items()}
    return denoiser, state


@pytest.fixture(scope="module")
def records(make_contrasts):
    return make_contrasts(22)


HEADS_EACH = planted.SIZES.heads + 1
"""One head in so many is tried each time, each of another place; the others by name (-m slow)."""


@pytest.mark.parametrize(
    "address",
    [
        address if place % HEADS_EACH == 0 else pytest.param(address, marks=pytest.mark.slow)
        for place, address in enumerate(planted.POSITIONS)
    ],
)
def test_the_head_that_carries_the_relation_ranks_first(carrier, records, tmp_path, address: str):
    denoiser, state = carrier
    denoiser.model.load_state_dict(state)
    planted.plant(denoiser, address)
    ours = favour(denoiser, records)
    margins = plain_margins(denoiser, ours, [record.texts["target"] for record in ours])
    assert margins.min() > 0
    assert margins.mean() > 1e-4
    catalogue = discover(denoiser.model)
    attentions = [part for part in catalogue if part.role == "attention"]
    for mode in ("zero", "mean", "resample"):
        config = HEADS.model_copy(update={"mode": mode})
        split = split_groups(ours, 16, 0 if mode == "zero" else 6, SEED)
        sweep = open_sweep(denoiser, split, config, SEED, tmp_path / mode, None)
        analysis = sweep.baseline()
        conditions, unclear = head_conditions(attentions, mode)
        assert (len(conditions), unclear) == (len(planted.POSITIONS), {})
        measured, broken = sweep.run(conditions, Purse(0, 1), 0)
        assert not broken
        rows = analysis.rows(measured)
        assert rows[0].component.address == address, mode
        assert {row.mode for row in rows} == {mode}
        if mode == "zero":  # without it caption and foil give the same loss
            impact = analysis.impacts(Condition((address,), mode))["target"]
            whole = sweep.results[Condition()]["target"].mean(1)
            np.testing.assert_allclose(impact, whole, atol=2e-6)
        # The other heads are alive: without them the loss is another.
        assert min(abs(row.quality["value"]) for row in rows) > 1e-7

    # No other way leads from the relation to the picture.
    planted.uproot(denoiser, address)
    assert np.abs(plain_margins(denoiser, ours, [r.texts["target"] for r in ours])).max() < 2e-6


def test_the_stage_with_heads(carrier, records, tmp_path, monkeypatch):
    monkeypatch.setattr("ablate2tune.localize.findings.follow_up.GROUPS", 4)
    denoiser, state = carrier
    address = "single_transformer_blocks.0.attn[heads=2]"
    denoiser.model.load_state_dict(state)
    planted.plant(denoiser, address)
    joint = JointConfig(level="head", pairs=2)
    config = HEADS.model_copy(update={"heads": True, "top_blocks": 4, "joint": joint})
    ranking = localize(denoiser, favour(denoiser, records), config, SEED, tmp_path)
    heads = [row for row in ranking.data["components"] if row["level"] == "head"]
    assert len(heads) == 12
    assert heads[0]["address"] == address
    assert heads[0]["lora_targets"] == [
        f"single_transformer_blocks.0.attn.{name}" for name in ("to_q", "to_k", "to_v")
    ]
    assert ranking.data["trust"]["stability"]["head"]["groups"] == 16
    blocks = [row for row in ranking.data["components"] if row["level"] == "block"]
    assert blocks[0]["address"] == "single_transformer_blocks.0"
    data = json.loads((tmp_path / "heads.json").read_text())
    cells = head_cells(data)
    assert cells.shape == (4, 3)
    assert np.unravel_index(np.argmax(cells), cells.shape) == (2, 2)
    assert cells.max() == pytest.approx(100, abs=1)  # all of the margin, and it only
    assert min(Image.open(tmp_path / "heads.png").size) > 200
    assert any(f"12, {address} matters most" in note for note in ranking.notes)
    # One of the pair carries nothing: the two add up.
    (pair,) = json.loads((tmp_path / "interactions.json").read_text())["pairs"]
    assert address in pair["pair"]
    assert pair["joint"]["value"] == pytest.approx(heads[0]["target"]["value"], rel=0.5)


def test_every_head_by_address(carrier):
    catalogue = discover(carrier[0].model)
    found = select(catalogue, "transformer_blocks.{0,1}.attn[heads=*]")
    assert [part.address for part in found] == planted.POSITIONS[:6]
    assert {(part.level, part.parent) for part in found[:3]} == {
        ("head", "transformer_blocks.0.attn")
    }
    assert found[0].parameters == catalogue["transformer_blocks.0.attn"].parameters // 3
    with pytest.raises(UserError, match=r"transformer_blocks\.0\.ff: a feed-forward has no heads"):
        select(catalogue, "transformer_blocks.0.ff[heads=*]")
    with pytest.raises(UserError, match="has no heads"):
        heads_of(catalogue["transformer_blocks.0"])


def test_settings_that_do_not_go_together():
    with pytest.raises(ValueError, match=r"joint\.level = head needs heads"):
        LocalizeConfig(joint=JointConfig(level="head"))
    with pytest.raises(ValueError, match="rank_by must not be gradient"):
        LocalizeConfig(heads=True, rank_by="gradient")
