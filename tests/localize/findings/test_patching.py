"""Activation patching, against the losses of the captions themselves and hooks of the test's own.

Where the pooled embedding is cut off, all of the caption's way to the picture leads through the
components, so patching all of them must give the other caption's loss.
"""

import json

import numpy as np
import planted  # type: ignore[import-not-found]
import pytest
import torch
from PIL import Image
from test_localize import (  # type: ignore[import-not-found]
    CONFIG,
    SEED,
    SIGMAS,
    favour,
    plain_losses,
)

from ablate2tune.ablation import Ablation, ablated
from ablate2tune.components import discover
from ablate2tune.errors import UserError
from ablate2tune.localize.findings.head_table import head_conditions
from ablate2tune.localize.findings.tracing import recovered_cells
from ablate2tune.localize.localize_config import JointConfig, LocalizeConfig
from ablate2tune.localize.localizing import localize, open_sweep
from ablate2tune.localize.margins.caption_losses import Levels, measure
from ablate2tune.localize.margins.encoded_examples import Split, encode
from ablate2tune.localize.margins.phrase_tokens import of_equal_length
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.measuring.engine import Engine
from ablate2tune.localize.measuring.purse import Purse
from ablate2tune.models import FluxDenoiser, load_denoiser
from ablate2tune.testbed.architecture import build_pipeline
from ablate2tune.testbed.text import word_list

PATCH = CONFIG.model_copy(
    update={"mode": "patch", "groups": 8, "racing": False, "noise_floor": False, "bootstrap": 200}
)


@pytest.fixture(scope="module")
def records(make_contrasts):
    return make_contrasts(24)


@pytest.fixture(scope="module")
def sideways(records):
    """Left of and right of: captions and foils of equally many tokens."""
    return [record for record in records if record.facts["relation"] in ("left of", "right of")]


@pytest.fixture
def streams_only(tiny_flux):
    """A tiny FLUX that hears of the caption by its text stream alone."""
    silent = tiny_flux.model.time_text_embed.text_embedder.linear_2
    silent.weight.zero_()
    silent.bias.zero_()
    return tiny_flux


def patched_losses(denoiser, records, conditions, **switches):
    """Mean over noise levels of the losses of patched foil and patched caption."""
    examples = encode(denoiser, records)
    engine = Engine(denoiser, batch_size=64, **switches)
    levels = Levels(SIGMAS, 1, SEED, 64)
    wanted = [Condition(), *conditions]
    chunk = range(len(records))
    found = measure(engine.losses, examples, levels, chunk, wanted, denoiser.device)
    caption = -found[Condition()].quality.mean(1)
    return {c: ((found[c].target.mean(1) + caption), -found[c].quality.mean(1)) for c in conditions}


def everything(denoiser) -> dict[str, Condition]:
    catalogue = discover(denoiser.model)
    writers = tuple(part.address for part in catalogue if part.writes)
    blocks = tuple(block.address for block in catalogue.blocks)
    return {
        "blocks": Condition(blocks, "patch"),
        "writers": Condition(writers, "patch"),
        "last state": Condition((blocks[-1],), "trace"),
        "first state": Condition((blocks[0],), "trace"),
    }


@pytest.mark.parametrize("saving", [True, False])
def test_patching_everything_gives_the_other_captions_loss(streams_only, sideways, saving: bool):
    switches = {"prefix_reuse": saving, "batch_conditions": saving}
    captions = plain_losses(streams_only, sideways, [r.text for r in sideways])
    foils = plain_losses(streams_only, sideways, [r.texts["target"] for r in sideways])
    assert np.abs(captions - foils).min() > 1e-6
    nothing = Condition(("single_transformer_blocks.1@text",), "trace")  # its text goes nowhere
    conditions = [*everything(streams_only).values(), nothing]
    found = patched_losses(streams_only, sideways, conditions, **switches)
    tolerance = np.abs(captions - foils).min() / 4
    for condition, (patched_foil, patched_caption) in found.items():
        ends = (foils, captions) if condition == nothing else (captions, foils)
        np.testing.assert_allclose(patched_foil, ends[0], atol=tolerance)
        np.testing.assert_allclose(patched_caption, ends[1], atol=tolerance)


def test_the_pooled_embedding_is_a_way_around_the_streams(tiny_flux, sideways):
    captions = plain_losses(tiny_flux, sideways, [r.text for r in sideways])
    whole = everything(tiny_flux)["first state"]
    ((patched_foil, _),) = patched_losses(tiny_flux, sideways, [whole]).values()
    assert np.abs(patched_foil - captions).max() > 1e-6


def test_one_sublayer_against_a_hook_of_our_own(tiny_flux, sideways):
    """The output is kept under the true captions and put in under the foils."""
    address = "transformer_blocks.1.attn"
    captions, foils = ([r.texts[role] for r in sideways] for role in ("true", "target"))
    module = tiny_flux.model.get_submodule(address)
    kept: list = []
    handle = module.register_forward_hook(lambda _m, _a, output: kept.append(output))
    plain_losses(tiny_flux, sideways, captions)
    handle.remove()
    assert len(kept) == len(SIGMAS)
    handle = module.register_forward_hook(lambda *_: kept.pop(0))
    expected = plain_losses(tiny_flux, sideways, foils)
    handle.remove()
    condition = Condition((address,), "patch")
    ((patched_foil, _),) = patched_losses(tiny_flux, sideways, [condition]).values()
    assert np.abs(expected - plain_losses(tiny_flux, sideways, foils)).max() > 1e-6
    np.testing.assert_allclose(patched_foil, expected, atol=1e-7)


@pytest.fixture(scope="module")
def carrier(tiny_flux_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("carrier")
    build_pipeline(word_list(), planted.SIZES, seed=0).save_pretrained(folder)
    denoiser = load_denoiser(tiny_flux_config.model_copy(update={"path": str(folder)}))
    assert isinstance(denoiser, FluxDenoiser)
    planted.isolate(denoiser)
    state = {name: tensor.clone() for name, tensor in denoiser.model.state_dict().items()}
    return denoiser, state


@pytest.mark.parametrize("address", [planted.POSITIONS[1], planted.POSITIONS[-1]])
def test_the_planted_head_restores_all_and_no_other_head_anything(
    carrier, sideways, tmp_path, address: str
):
    denoiser, state = carrier
    denoiser.model.load_state_dict(state)
    planted.plant(denoiser, address)
    ours = favour(denoiser, sideways)
    catalogue = discover(denoiser.model)
    attentions = [part for part in catalogue if part.role == "attention"]
    sweep = open_sweep(denoiser, Split(ours, []), PATCH, SEED, tmp_path, None)
    analysis = sweep.baseline()
    conditions, _ = head_conditions(attentions, "patch")
    measured, broken = sweep.run(conditions, Purse(0, 1), 0)
    assert not broken
    rows = {row.component.address: row.patched for row in analysis.rows(measured)}
    assert next(iter(rows)) == address
    for head, shares in rows.items():
        assert shares is not None
        expected = 1 if head == address else 0
        for share in ("recovered", "corrupted"):
            assert shares[share]["value"] == pytest.approx(expected, abs=0.02), head
            assert shares[share]["low"] <= shares[share]["value"] <= shares[share]["high"]


def test_the_stage(streams_only, records, tmp_path, monkeypatch):
    monkeypatch.setattr("ablate2tune.localize.findings.follow_up.GROUPS", 4)
    ours = favour(streams_only, records)
    joint = JointConfig(pairs=2, curves=True)
    changes = {"tokens": ["relation", "subject"], "heads": True, "joint": joint}
    config = PATCH.model_copy(update=changes)
    ranking = localize(streams_only, ours, config, SEED, tmp_path)
    data = json.loads((tmp_path / "ranking.json").read_text())
    assert {row["mode"] for row in data["components"]} == {"patch"}
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert {row["mode"] for row in lines} == {"none", "patch"}
    by_id = {record.id: record for record in ours}
    relations = {by_id[row["example"]].facts["relation"] for row in lines}
    assert relations == {"left of", "right of"}
    margin = data["baseline"]["target"]["value"]
    for row in data["components"]:
        assert row["patched"]["recovered"]["value"] == pytest.approx(
            row["target"]["value"] / margin, rel=1e-6
        )
        assert row["patched"]["corrupted"]["value"] == pytest.approx(
            row["quality"]["value"] / margin, rel=1e-6
        )
    header, first = (tmp_path / "ranking.csv").read_text().splitlines()[:2]
    best = min(data["components"], key=lambda row: row["rank"])
    value = dict(zip(header.split(","), first.split(","), strict=True))["recovered"]
    assert float(value) == pytest.approx(best["patched"]["recovered"]["value"])
    notes = " ".join(ranking.notes)
    assert "patching: 8 of 24 contrast groups" in notes
    assert "tracing: the image stream restores more" in notes
    tracing = json.loads((tmp_path / "tracing.json").read_text())
    assert tracing["places"] == ["all streams", "text", "image", "relation", "subject"]
    assert tracing["left_out"] == {}
    cells = recovered_cells(tracing)[:, :, 0]
    np.testing.assert_allclose(cells[0], 1, atol=0.02)
    np.testing.assert_allclose(cells[1:, -1], [0, 1, 0, 0], atol=0.02)
    assert min(Image.open(tmp_path / "tracing.png").size) > 200
    curves = json.loads((tmp_path / "curves.json").read_text())["curves"]["most"]["points"]
    assert curves[0]["target"]["value"] > 0
    # All sub-layers of the two top blocks, not of all four: something is left.
    assert (tmp_path / "interactions.json").exists()


def test_captions_of_unequal_length_are_refused(tiny_flux, records):
    unequal = [
        record for record in records if record.facts["relation"] in ("behind", "in front of")
    ]
    with pytest.raises(UserError, match=r"in all \d+ contrast groups the foils have other numbers"):
        of_equal_length(tiny_flux, unequal)


def test_bad_settings():
    with pytest.raises(ValueError, match="mode patch does not"):
        LocalizeConfig(mode="patch", strips=2)
    with pytest.raises(ValueError, match="mode patch does not"):
        LocalizeConfig(mode="patch", joint=JointConfig(sufficient=0.8))


def test_modes_that_lack_what_they_put_in(tiny_flux):
    model = tiny_flux.model
    misfit = [Ablation("transformer_blocks.0.attn", "trace")]
    with pytest.raises(UserError, match="'trace' does not fit a sublayer"), ablated(model, misfit):
        pass
    latents = tiny_flux.encode_images(np.zeros((1, 32, 32, 3), np.uint8))
    conditioning = tiny_flux.encode_prompts(["a cube"])

    def run(mode):
        with ablated(model, [Ablation("transformer_blocks.0", mode)]):
            tiny_flux.predict(latents, torch.ones(1), conditioning)

    for mode in ("patch", "trace"):
        with pytest.raises(UserError, match="nothing was recorded to patch it with"):
            run(mode)
