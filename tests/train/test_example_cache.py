import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from ablate2tune.errors import UserError
from ablate2tune.models import FluxDenoiser
from ablate2tune.scenes.dataset.records import SceneRecord
from ablate2tune.train.example_cache import encode_examples, read_examples


def test_latents_and_captions_belong_to_their_example(
    tiny_flux: FluxDenoiser, records: list[SceneRecord], tmp_path: Path
):
    shuffled = [records[i] for i in np.random.default_rng(0).permutation(12)]
    captions = [r.text for r in shuffled] + [r.pair_text for r in shuffled] + [""]
    encode_examples(tiny_flux, shuffled, captions, tmp_path / "cache")
    cache = read_examples(tmp_path / "cache")
    assert len(cache.conditioning) == len(set(captions))
    for index, record in enumerate(shuffled):
        rng = np.random.default_rng(2 * int(record.group_id[-3:]) + int(record.scene_id[-1]))
        pixels = rng.integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
        alone = tiny_flux.encode_images(pixels)[0]
        torch.testing.assert_close(cache.latents[index], alone, rtol=1e-4, atol=1e-4)
        for caption in (record.text, record.pair_text, ""):
            told, encoded = cache.captions([caption]), tiny_flux.encode_prompts([caption])
            torch.testing.assert_close(told.prompt_embeds, encoded.prompt_embeds)
            torch.testing.assert_close(told.pooled, encoded.pooled)
    assert torch.pdist(cache.latents.flatten(1)).min() > 0.01


def test_unchanged_data_is_not_encoded_again(
    tiny_flux: FluxDenoiser, records: list[SceneRecord], tmp_path: Path, monkeypatch
):
    path, captions = tmp_path / "cache", [r.text for r in records]
    encode_examples(tiny_flux, records, captions, path)
    monkeypatch.setattr(tiny_flux.pipe.vae, "encode", lambda *_: pytest.fail("encoded again"))
    encode_examples(tiny_flux, records, captions, path)


def test_changed_data_is_encoded_again(tiny_flux: FluxDenoiser, make_records, tmp_path: Path):
    records, path = make_records(tmp_path / "data", 2), tmp_path / "cache"
    captions = [r.text for r in records]
    encode_examples(tiny_flux, records, captions, path)
    before = read_examples(path)
    records[0].image_path.write_bytes(records[3].image_path.read_bytes())
    encode_examples(tiny_flux, records, captions, path)
    after = read_examples(path)
    assert not torch.equal(after.latents[0], before.latents[0])
    assert torch.equal(after.latents[1], before.latents[1])

    encode_examples(tiny_flux, records, [*captions, "a new caption"], path)
    assert "a new caption" in read_examples(path).rows


def test_a_torn_cache_is_made_again(
    tiny_flux: FluxDenoiser, records: list[SceneRecord], tmp_path: Path
):
    path, captions = tmp_path / "cache", [r.text for r in records]
    encode_examples(tiny_flux, records, captions, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    encode_examples(tiny_flux, records, captions, path)
    assert path.read_bytes() == whole


def test_pictures_of_another_size_are_refused(
    tiny_flux: FluxDenoiser, records: list[SceneRecord], tmp_path: Path
):
    tiny_flux.config = tiny_flux.config.model_copy(update={"height": 64})
    with pytest.raises(UserError, match=r"32 x 32 pixels, but the model runs at 32 x 64"):
        encode_examples(tiny_flux, records, ["a"], tmp_path / "cache")


def test_a_missing_picture_is_named(tiny_flux: FluxDenoiser, make_records, tmp_path: Path):
    record = make_records(tmp_path, 1)[0]
    gone = dataclasses.replace(record, file_name="images/gone.png")
    with pytest.raises(UserError, match=r"gone\.png"):
        encode_examples(tiny_flux, [gone], ["a"], tmp_path / "cache")
