import dataclasses
import gc
import os
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ablate2tune.errors import UserError
from ablate2tune.models import Conditioning, FluxDenoiser
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.scenes.dataset.records import SceneRecord
from ablate2tune.train import example_cache
from ablate2tune.train.example_cache import ExampleCache, data_key, encode_examples


def encode(denoiser, records, captions, folder: Path) -> ExampleCache:
    encode_examples(denoiser, records, captions, data_key(records, captions), folder)
    return ExampleCache(folder)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch):
    """Five rows to a file, so that a dozen examples take three."""
    monkeypatch.setattr(example_cache, "SHARD", 5)


def test_latents_and_captions_belong_to_their_example(
    tiny_flux: FluxDenoiser, records: list[SceneRecord], tmp_path: Path
):
    shuffled = [records[i] for i in np.random.default_rng(0).permutation(12)]
    captions = [r.text for r in shuffled] + [r.pair_text for r in shuffled] + [""]
    cache = encode(tiny_flux, shuffled, captions, tmp_path)
    latents = cache.latents(range(12))
    for index, record in enumerate(shuffled):
        rng = np.random.default_rng(2 * int(record.group_id[-3:]) + int(record.scene_id[-1]))
        pixels = rng.integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
        alone = tiny_flux.encode_images(pixels)[0]
        torch.testing.assert_close(latents[index], alone, rtol=1e-4, atol=1e-4)
        for caption in (record.text, record.pair_text, ""):
            told, encoded = cache.captions([caption]), tiny_flux.encode_prompts([caption])
            torch.testing.assert_close(told.prompt_embeds, encoded.prompt_embeds)
            torch.testing.assert_close(told.pooled, encoded.pooled)
    assert torch.pdist(latents.flatten(1)).min() > 0.01
    assert torch.equal(cache.latents([7, 2, 7]), latents[[7, 2, 7]])


def test_a_mirrored_example_is_the_turned_picture_under_exchanged_sides(
    tiny_flux: FluxDenoiser, records: list[SceneRecord], tmp_path: Path
):
    left = next(record for record in records if record.relation == "left of")
    seen = left.mirror()
    assert seen.text == left.text.replace("left", "right") and seen.relation == "right of"
    assert seen.foil == left.text and seen.pair_text == left.pair_text and seen.mirror() == left
    behind = dataclasses.replace(left, text="a red ball behind a blue cube", relation="behind")
    assert behind.mirror().text == behind.text
    assert data_key([behind], [behind.text]) != data_key([behind.mirror()], [behind.text])
    with Image.open(left.image_path) as image:
        turned = np.asarray(image)[:, ::-1]
    cache = encode(tiny_flux, [left, seen], [left.text, seen.text], tmp_path)
    alone = tiny_flux.encode_images(np.ascontiguousarray(turned)[None])[0]
    torch.testing.assert_close(cache.latents([1])[0], alone, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(cache.latents([1]), cache.latents([0]))


def test_never_more_than_a_file_is_in_memory(
    tiny_flux: FluxDenoiser, records: list[SceneRecord], tmp_path: Path, monkeypatch
):
    # What an encoder gave must be gone before it is called again.
    alive, sizes = [], []

    def watched(encode, tensor_of):
        def run(items, **options):
            gc.collect()
            assert not [reference for reference in alive if reference() is not None]
            given = encode(items, **options)
            sizes.append(len(given))
            alive.append(weakref.ref(tensor_of(given)))
            return given

        return run

    pictures, prompts = tiny_flux.encode_images, tiny_flux.encode_prompts
    monkeypatch.setattr(tiny_flux, "encode_images", watched(pictures, lambda x: x))
    monkeypatch.setattr(tiny_flux, "encode_prompts", watched(prompts, lambda x: x.prompt_embeds))
    encode(tiny_flux, records, [r.text for r in records], tmp_path)
    # 14 pictures; the test group's two captions are among the other twelve.
    assert sizes == [5, 5, 4, 5, 5, 2]


def test_unchanged_data_is_not_encoded_again(
    tiny_flux: FluxDenoiser, records: list[SceneRecord], tmp_path: Path, monkeypatch
):
    captions = [r.text for r in records]
    encode(tiny_flux, records, captions, tmp_path)
    monkeypatch.setattr(tiny_flux.pipe.vae, "encode", lambda *_: pytest.fail("encoded again"))
    encode(tiny_flux, records, captions, tmp_path)


def test_changed_data_is_encoded_again(tiny_flux: FluxDenoiser, make_records, tmp_path: Path):
    records, folder = make_records(tmp_path / "data", 2), tmp_path / "cache"
    captions = [r.text for r in records]
    before = encode(tiny_flux, records, captions, folder).latents(range(4))
    # Another picture under the same name, of the same size and time.
    stat = records[0].image_path.stat()
    records[0].image_path.write_bytes(records[3].image_path.read_bytes())
    os.utime(records[0].image_path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after = encode(tiny_flux, records, captions, folder).latents(range(4))
    assert not torch.equal(after[0], before[0])
    assert torch.equal(after[1], before[1])

    cache = encode(tiny_flux, records, [*captions, "a new caption"], folder)
    assert len(cache.captions(["a new caption"])) == 1


def test_other_weights_encode_again(
    tiny_flux: FluxDenoiser, records: list[SceneRecord], tmp_path: Path, monkeypatch
):
    captions = [r.text for r in records]
    encode(tiny_flux, records, captions, tmp_path)
    monkeypatch.setattr(example_cache, "identity", lambda path: "content of a hub's new snapshot")
    seen = []
    monkeypatch.setattr(tiny_flux, "encode_images", lambda x: seen.append(len(x)) or torch.zeros(5))
    encode(tiny_flux, records, captions, tmp_path)
    assert seen == [5, 5, 4]


def test_what_is_torn_or_missing_is_made_again(
    tiny_flux: FluxDenoiser, records: list[SceneRecord], tmp_path: Path
):
    captions = [r.text for r in records]
    encode(tiny_flux, records, captions, tmp_path)
    torn, gone, kept = (tmp_path / f"latents-0000{n}.safetensors" for n in (0, 1, 2))
    whole, time = torn.read_bytes(), kept.stat().st_mtime_ns
    torn.write_bytes(whole[: len(whole) // 2])
    gone.unlink()
    with pytest.raises(UserError, match=r"cache is damaged.*delete it|latents-00000"):
        ExampleCache(tmp_path).latents([0])
    encode(tiny_flux, records, captions, tmp_path)
    assert torn.read_bytes() == whole and gone.exists()
    assert kept.stat().st_mtime_ns == time
    index = tmp_path / "index.json"
    said = index.read_bytes()
    for damaged in (said[:20], b"[]", b""):
        index.write_bytes(damaged)
        encode(tiny_flux, records, captions, tmp_path)
        assert index.read_bytes() == said
    assert torn.read_bytes() == whole


def test_prompts_are_padded_alike_in_all_files(tmp_path: Path, monkeypatch):
    # A family that pads to the longest prompt is told of all of them.
    seen = []

    class Padding:
        config = ModelConfig(path=str(tmp_path), height=32, width=32)

        def encode_prompts(self, prompts, among):
            seen.append((len(prompts), list(among)))
            return Conditioning(torch.zeros(len(prompts), max(map(len, among)), 1))

    captions = [str(n) * n for n in range(1, 8)]
    encode_examples(Padding(), [], captions, "data", tmp_path / "cache")
    assert seen == [(5, captions), (2, captions)]
    shape = ExampleCache(tmp_path / "cache").captions(["1", "7777777"]).prompt_embeds.shape
    assert shape == (2, 7, 1)


def test_masks_and_further_embeddings_are_kept(tmp_path: Path):
    class Masked:
        config = ModelConfig(path=str(tmp_path), height=32, width=32)

        def encode_prompts(self, prompts, among):
            rows = torch.arange(len(prompts))
            extra = {"prompt_attention_mask": rows[:, None] > 0}
            return Conditioning(rows[:, None, None].float(), None, extra)

    encode_examples(Masked(), [], ["a", "b"], "data", tmp_path / "cache")
    told = ExampleCache(tmp_path / "cache").captions(["b", "a"])
    assert told.pooled is None
    assert told.extra["prompt_attention_mask"].tolist() == [[True], [False]]
    assert told.mask is not None


def test_a_missing_picture_is_named(tiny_flux: FluxDenoiser, make_records, tmp_path: Path):
    record = make_records(tmp_path, 1)[0]
    gone = dataclasses.replace(record, file_name="images/gone.png")
    with pytest.raises(UserError, match=r"gone\.png"):
        encode(tiny_flux, [gone], ["a"], tmp_path / "cache")
