"""Means on disk, by content, against means taken by hand; sets and folders that are refused."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from ablate2tune import files
from ablate2tune.errors import UserError
from ablate2tune.localize.margins.caption_losses import Levels, noise_for
from ablate2tune.localize.margins.encoded_examples import Split
from ablate2tune.localize.measuring.activation_means import Calibration
from ablate2tune.localize.measuring.engine import Engine
from ablate2tune.localize.measuring.sweep_identity import claim, model_hash, sweep_identity

LEVELS = Levels([0.9, 0.6], 1, 11, 18)
ADDRESSES = ["transformer_blocks.1.ff", "transformer_blocks.0.attn[heads=1]"]
SITES = {
    "transformer_blocks.1.ff",
    *(f"transformer_blocks.0.attn.{x}:input" for x in ("to_out.0", "to_add_out")),
}


@pytest.fixture(scope="module")
def records(make_contrasts):
    return make_contrasts(3)


def provide(denoiser, records, cache, levels=LEVELS) -> tuple[Engine, int]:
    engine = Engine(denoiser, 18)
    calibration = Calibration(denoiser, records, levels, model_hash(denoiser), cache)
    return engine, calibration.provide(engine, ADDRESSES, write=True)


def test_a_second_run_reads_the_means_that_a_hook_takes_by_hand(tiny_flux, records, tmp_path):
    first, ran = provide(tiny_flux, records, tmp_path)
    assert ran == 2
    assert first.means.sites == SITES
    second, ran = provide(tiny_flux, records, tmp_path)
    assert (ran, second.evaluations) == (0, 0)  # the model was not run

    seen: list[torch.Tensor] = []
    module = tiny_flux.model.transformer_blocks[1].ff
    handle = module.register_forward_hook(lambda _m, _a, output: seen.append(output))
    pictures = [torch.from_numpy(pixels(record)) for record in records]
    latents = tiny_flux.encode_images(torch.stack(pictures).numpy())
    conditioning = tiny_flux.encode_prompts([record.text for record in records])
    for level, sigma in enumerate(LEVELS.sigmas):
        for i, record in enumerate(records):
            noise = noise_for(record.id, latents.shape[1:], LEVELS.seed, level, 0)
            with torch.no_grad():
                noised = ((1 - sigma) * latents[i] + sigma * noise)[None]
                tiny_flux.predict(noised, torch.tensor([sigma]), conditioning[[i]])
        by_hand = torch.cat(seen).mean(0)
        seen.clear()
        for means in (first.means, second.means):
            means.sigma_index = level
            found = means.mean("transformer_blocks.1.ff", 0, by_hand[None])[0]
            torch.testing.assert_close(found, by_hand, atol=1e-5, rtol=1e-5)
    handle.remove()


def pixels(record) -> np.ndarray:
    return np.array(Image.open(record.payload))


def test_only_what_is_missing_is_run(tiny_flux, records, tmp_path):
    provide(tiny_flux, records, tmp_path)
    engine = Engine(tiny_flux, 18)
    calibration = Calibration(tiny_flux, records, LEVELS, model_hash(tiny_flux), tmp_path)
    assert calibration.provide(engine, [*ADDRESSES, "transformer_blocks.0.ff"], write=True) == 1
    assert calibration.provide(engine, ADDRESSES, write=True) == 0
    assert engine.means.sites == {*SITES, "transformer_blocks.0.ff"}
    without = Calibration(tiny_flux, records, LEVELS, model_hash(tiny_flux), None)
    assert without.provide(Engine(tiny_flux, 18), ADDRESSES, write=True) == 2


def test_other_content_is_not_reused(tiny_flux, records, tmp_path):
    provide(tiny_flux, records, tmp_path)
    assert provide(tiny_flux, records, tmp_path)[1] == 0
    assert provide(tiny_flux, records[:-1], tmp_path)[1] == 2
    for changes in ({"seed": 12}, {"sigmas": [0.9, 0.5]}):
        levels = dataclasses.replace(LEVELS, **changes)
        assert provide(tiny_flux, records, tmp_path, levels)[1] == 2
    assert provide(tiny_flux, records, tmp_path, dataclasses.replace(LEVELS, batch_size=3))[1] == 0
    other = dataclasses.replace(
        records[0], texts={**records[0].texts, "true": records[-1].texts["true"]}
    )
    assert provide(tiny_flux, [other, *records[1:]], tmp_path)[1] == 2
    with torch.no_grad():  # one number of a text encoder
        tiny_flux.pipe.text_encoder_2.shared.weight[3, 0] += 1e-3
    assert provide(tiny_flux, records, tmp_path)[1] == 2


def test_damaged_means_and_an_empty_set_are_refused(tiny_flux, records, tmp_path):
    provide(tiny_flux, records, tmp_path)
    (file,) = tmp_path.glob("*/transformer_blocks.1.ff.safetensors")
    assert sorted(load_file(file)) == ["0.0.0", "0.0.grid", "1.0.0", "1.0.grid"]
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(UserError, match=r"transformer_blocks\.1\.ff\.safetensors: damaged means"):
        provide(tiny_flux, records, tmp_path)
    with pytest.raises(UserError, match="the calibration set is empty"):
        provide(tiny_flux, [], tmp_path)


def test_calibration_scenes_that_are_measured_are_refused(records):
    with pytest.raises(UserError, match=r"6 of 6 calibration examples are of measured"):
        Split(records, records)
    with pytest.raises(UserError, match="1 of 2 calibration examples"):  # a twin of a measured one
        Split([records[0], records[2]], [records[1], records[4]])
    assert Split(records[:2], records[2:]).calibration == records[2:]


def test_a_folder_of_another_model_or_probe_is_refused(tiny_flux, records, tmp_path):
    def identity():
        return sweep_identity(model_hash(tiny_flux), records[:2], records[2:], LEVELS)

    claim(tmp_path, identity(), write=True)
    claim(tmp_path, identity(), write=True)
    path = tmp_path / "identity.json"
    kept = path.read_text()
    path.write_text(json.dumps(json.loads(kept) | {"probe": 0}))
    with pytest.raises(UserError, match="results of another sweep: probe was 0, is 1"):
        claim(tmp_path, identity(), write=True)
    path.write_text(kept)
    with torch.no_grad():
        tiny_flux.model.proj_out.bias[0] += 1e-3
    with pytest.raises(UserError, match="results of another sweep: model was"):
        claim(tmp_path, identity(), write=True)
    path.unlink()
    (tmp_path / "results.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match="nothing says which model and probe"):
        claim(tmp_path, identity(), write=True)


def test_a_folder_of_another_version_says_what_to_do(tmp_path):
    files.write_json(tmp_path / "identity.json", {"schema": "ablate2tune/identity/1"})
    with pytest.raises(UserError, match=r"another version of ablate2tune; .*delete this one"):
        claim(tmp_path, {"schema": "ablate2tune/identity/2"}, write=True)
