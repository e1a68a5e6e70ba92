"""CLIP's preprocessing and score by hand, against the model's own forward; pairs; InceptionV3."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoTokenizer, CLIPModel

from ablate2tune.errors import UserError
from ablate2tune.localize.generate import inception
from ablate2tune.localize.generate.clip import MEAN, STD, Clip, clip_scores, prepared
from ablate2tune.localize.generate.pairs import read_pairs, read_picture


def test_a_plain_picture_is_standardised_by_channel():
    pixels = prepared(np.full((30, 50, 3), [255, 0, 51], np.uint8), 12)
    assert pixels.shape == (3, 12, 12)
    expected = [(level - m) / s for level, m, s in zip((1, 0, 0.2), MEAN, STD, strict=True)]
    for channel, value in zip(pixels, expected, strict=True):
        np.testing.assert_allclose(channel, value, rtol=1e-5)


@pytest.mark.parametrize("wide", [True, False])
def test_the_shortest_side_is_resized_and_the_centre_kept(wide: bool):
    # A ramp of 3 levels a pixel, halved to 6 a pixel: place x of 40 shows 3 * (2x + 0.5).
    ramp = np.broadcast_to(3 * np.arange(80, dtype=np.uint8), (40, 80))
    image = np.stack([ramp] * 3, axis=-1)
    pixels = prepared(image if wide else image.transpose(1, 0, 2), 20).numpy()
    levels = 255 * (pixels[0] * STD[0] + MEAN[0])
    levels = levels if wide else levels.T
    expected = 3 * (2 * np.arange(10, 30) + 0.5)
    np.testing.assert_allclose(levels, np.broadcast_to(expected, (20, 20)), atol=1.01)


def test_scores_are_those_of_the_model_s_own_forward(tiny_clip_folder):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (20 + 4 * i, 24, 3), dtype=np.uint8) for i in range(3)]
    texts = ["a red ball", "a blue cube behind a red cone", "a cat " * 40]
    clip = Clip(str(tiny_clip_folder))
    found = clip_scores(clip.image_features(images), clip.text_features(texts))
    model, words = (
        CLIPModel.from_pretrained(tiny_clip_folder),
        AutoTokenizer.from_pretrained(tiny_clip_folder),
    )
    for image, text, score in zip(images, texts, found, strict=True):
        tokens = words(text, truncation=True, max_length=20, return_tensors="pt")
        with torch.no_grad():
            out = model(
                input_ids=tokens["input_ids"],
                attention_mask=tokens["attention_mask"],
                pixel_values=prepared(image, 16)[None],
            )
        assert score == pytest.approx(
            float(out.logits_per_image / model.logit_scale.detach().exp()), abs=1e-5
        )
    assert len({round(score, 6) for score in found}) == 3


def test_score_by_hand():
    images, texts = np.array([[3.0, 4.0], [1.0, 0.0]]), np.array([[4.0, 3.0], [0.0, 2.0]])
    np.testing.assert_allclose(clip_scores(images, texts), [24 / 25, 0])


def test_describe_tells_weights_apart(tiny_clip_folder, tmp_path):
    one, again = Clip(str(tiny_clip_folder)).describe(), Clip(str(tiny_clip_folder)).describe()
    model = CLIPModel.from_pretrained(tiny_clip_folder)
    model.visual_projection.weight.data[0, 0] += 1
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_clip_folder).save_pretrained(tmp_path)
    assert one == again
    assert Clip(str(tmp_path)).describe()["content"] != one["content"]


def test_no_such_clip(tmp_path):
    with pytest.raises(UserError, match=r"localize.generate.clip = .*cannot load the CLIP model"):
        Clip(str(tmp_path / "nothing"))


def test_pairs_are_drawn_by_seed_in_the_order_of_their_rows(make_pairs):
    folder = make_pairs(9)
    everything = read_pairs(folder, None, 1)
    assert [pair.index for pair in everything] == list(range(9))
    some = [[pair.index for pair in read_pairs(folder, 4, seed)] for seed in (1, 1, 2)]
    assert some[0] == some[1] == sorted(some[0])
    assert some[0] != some[2]
    assert read_picture(everything[1].path).shape == (44, 40, 3)


def test_bad_pairs(make_pairs, tmp_path):
    with pytest.raises(UserError, match=r"metadata.jsonl: no such file"):
        read_pairs(tmp_path, None, 0)
    folder = make_pairs(3)
    with pytest.raises(UserError, match="holds 3 pairs, 4 are needed"):
        read_pairs(folder, 4, 0)
    (folder / "001.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"001.png: the picture is damaged"):
        read_pairs(folder, None, 0)
    (folder / "001.png").unlink()
    with pytest.raises(UserError, match=r"001.png: no such picture"):
        read_pairs(folder, None, 0)
    for row, reason in (
        ({"file_name": "000.png"}, "'text' is missing"),
        ({"file_name": "000.png", "text": " "}, "the caption is empty"),
        ({"file_name": "000.png", "text": ["a", "b"]}, "'text' is missing or no text"),
    ):
        (folder / "metadata.jsonl").write_text(json.dumps(row) + "\n")
        with pytest.raises(UserError, match=rf"metadata.jsonl:1: {reason}"):
            read_pairs(folder, None, 0)


def test_fid_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(inception.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'ablate2tune\[fid\]'"):
        inception.Inception(None)


def test_inception_features_are_torch_fidelity_s(tmp_path, monkeypatch):
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")

    class Untrained(module.FeatureExtractorInceptionV3):
        def load_state_dict(self, *_, **__):
            pass

    monkeypatch.setattr(module, "load_state_dict_from_url", lambda *_, **__: {})
    torch.manual_seed(0)
    theirs = Untrained("inception-v3-compat", ["2048"])
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (size, 40, 3), dtype=np.uint8) for size in (40, 40, 56)]
    found = inception.Inception(tmp_path / "weights.pth").image_features(images)
    assert found.shape == (3, 2048)
    for image, row in zip(images, found, strict=True):
        (expected,) = theirs(torch.from_numpy(image).permute(2, 0, 1)[None])
        np.testing.assert_allclose(row, expected[0], rtol=1e-4, atol=1e-5)
    Image.fromarray(images[0]).save(tmp_path / "weights.png")
    with pytest.raises(UserError, match="cannot load InceptionV3's weights"):
        inception.Inception(tmp_path / "weights.png")
