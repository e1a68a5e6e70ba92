"""Modes that take directions, and modes that do not fit every component, in whole sweeps."""

import json

import pytest
import torch
from safetensors.torch import save_file
from test_localize import CONFIG, SEED, favour  # type: ignore[import-not-found]

from ablate2tune.components import discover
from ablate2tune.errors import UserError
from ablate2tune.localize.localizing import localize
from ablate2tune.localize.margins.caption_losses import Levels, noise_for
from ablate2tune.localize.margins.encoded_examples import encode
from ablate2tune.localize.measuring.activation_means import Calibration
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.measuring.engine import Engine

FF, BLOCK = "transformer_blocks.1.ff", "transformer_blocks.1"
EVERYTHING = CONFIG.model_copy(
    update={"groups": 8, "racing": False, "noise_floor": False, "bootstrap": 50, "top_blocks": 4}
)


@pytest.fixture(scope="module")
def records(make_contrasts):
    return make_contrasts(11)


def ranked(ranking) -> set[str]:
    return {row["address"] for row in ranking.data["components"]}


def test_directions_are_learnt_from_captions_and_foils(tiny_flux, records):
    levels, engine = Levels([0.9, 0.6], 1, 11, 18), Engine(tiny_flux, 18)
    calibration = Calibration(tiny_flux, records[:4], levels, "model", None)
    calibration.prepare(engine, [Condition((FF,), "project_out")], write=False)

    examples = encode(tiny_flux, records[:4])
    seen: list[torch.Tensor] = []
    module = tiny_flux.model.get_submodule(FF)
    handle = module.register_forward_hook(lambda _m, _a, output: seen.append(output))
    means = []
    for texts in ([r.text for r in records[:4]], [r.texts["target"] for r in records[:4]]):
        for level, sigma in enumerate(levels.sigmas):
            for i, record in enumerate(records[:4]):
                noise = noise_for(record.id, examples.latents.shape[1:], 11, level, 0)
                noised = (1 - sigma) * examples.latents[[i]] + sigma * noise
                with torch.no_grad():
                    prompt = tiny_flux.encode_prompts([texts[i]])
                    tiny_flux.predict(noised, torch.tensor([sigma]), prompt)
        means.append(torch.cat(seen).mean((0, 1)))
        seen.clear()
    handle.remove()
    found, expected = engine.directions[FF], means[0] - means[1]
    assert float(torch.cosine_similarity(found, expected, dim=0)) > 0.999
    torch.testing.assert_close(found.norm(), expected.norm(), rtol=1e-2, atol=0)


def test_a_file_of_directions_says_what_is_swept(tiny_flux, records, tmp_path):
    file = tmp_path / "directions.safetensors"
    width = tiny_flux.model.get_submodule(f"{FF}.net.2").out_features
    wide = torch.zeros(width)
    wide[3] = 1.0
    save_file({FF: wide, BLOCK: wide.clone(), "transformer_blocks.1.attn": torch.ones(3)}, file)
    ours = favour(tiny_flux, records)
    config = EVERYTHING.model_copy(update={"mode": "project_out", "directions": file})
    assert config.calibrated_groups == 0
    ranking = localize(tiny_flux, ours, config, SEED, tmp_path / "run")
    assert ranked(ranking) == {FF, BLOCK}
    left_out = ranking.data["left_out"]
    assert "the direction has (3,)" in left_out["transformer_blocks.1.attn"]
    assert "needs a direction" in left_out["transformer_blocks.0"]
    assert set(left_out) | ranked(ranking) == {
        part.address for part in discover(tiny_flux.model) if part.level in ("block", "sublayer")
    }

    save_file({FF: -wide, BLOCK: wide + 1.0}, file)
    with pytest.raises(UserError, match="another sweep: directions was"):
        localize(tiny_flux, ours, config, SEED, tmp_path / "run")


def test_what_a_mode_does_not_fit_is_left_out_by_name(tiny_flux, records, tmp_path):
    config = EVERYTHING.model_copy(update={"mode": "input"})
    ranking = localize(tiny_flux, favour(tiny_flux, records), config, SEED, tmp_path)
    assert {FF, f"{BLOCK}.attn", BLOCK} <= ranked(ranking)
    left_out = ranking.data["left_out"]
    assert {name.rpartition(".")[2] for name in left_out} == {"proj_mlp", "proj_out"}
    reason = left_out["single_transformer_blocks.0.proj_mlp"]
    assert "has not the shape of its output" in reason
    rows = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert {row["mode"] for row in rows} == {"none", "skip", "input"}


def test_channel_mean_is_swept_as_any_mode(tiny_flux, records, tmp_path):
    config = EVERYTHING.model_copy(update={"mode": "channel-mean", "heads": True, "top_blocks": 1})
    ranking = localize(tiny_flux, favour(tiny_flux, records), config, SEED, tmp_path)
    assert ranking.data["left_out"] == {}
    assert {row["mode"] for row in ranking.data["components"]} == {"skip", "channel-mean"}
    assert "head" in {row["level"] for row in ranking.data["components"]}


def test_noise_is_a_row_s_own_whatever_the_batch(tiny_flux, records, tmp_path):
    ours, found = favour(tiny_flux, records), []
    for size in (18, 6):
        config = EVERYTHING.model_copy(
            update={"mode": "noise", "batch_size": size, "top_blocks": 1, "heads": True}
        )
        ranking = localize(tiny_flux, ours, config, SEED, tmp_path / str(size), cache=tmp_path)
        assert {row["mode"] for row in ranking.data["components"]} == {"noise"}
        found.append({row["address"]: row for row in ranking.data["components"]})
    assert found[0].keys() == found[1].keys()
    for address, row in found[0].items():
        for figure in ("target", "quality"):
            value = found[1][address][figure]["value"]
            assert row[figure]["value"] == pytest.approx(value, abs=1e-6), address
    assert any(abs(row["quality"]["value"]) > 1e-5 for row in found[0].values())
