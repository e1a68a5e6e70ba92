"""CLIP's preprocessing and score by hand, against the model's own forward; pairs; InceptionV3."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel

from ablate2tune.disk.picture_reading import read_picture
from ablate2tune.errors import UserError
from ablate2tune.localize.generate import inception
from ablate2tune.localize.generate.clip import Clip, clip_scores, processor_of
from ablate2tune.localize.generate.pairs import read_pairs

MEAN = np.array([0.48145466, 0.4578275, 0.40821073])
STD = np.array([0.26862954, 0.26130258, 0.27577711])


def by_hand(image: np.ndarray, size: int) -> torch.Tensor:
    """OpenAI's preprocessing written out: shortest side to size, bicubic, centre, standardised."""
    height, width = image.shape[:2]
    short = min(height, width)
    new = (int(size * width / short), int(size * height / short))
    resized = Image.fromarray(image).resize(new, Image.Resampling.BICUBIC)
    left, top = (new[0] - size) // 2, (new[1] - size) // 2
    pixels = np.asarray(resized.crop((left, top, left + size, top + size))) / 255
    return torch.from_numpy(((pixels - MEAN) / STD).transpose(2, 0, 1)).float()


@pytest.mark.parametrize(("height", "width"), [(40, 40), (40, 64), (51, 40), (16, 16), (9, 30)])
def test_pictures_are_prepared_as_openai_s(tiny_clip_folder, height: int, width: int):
    image = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    processor = processor_of(str(tiny_clip_folder), 16)
    found = processor([image], input_data_format="channels_last", return_tensors="pt")
    np.testing.assert_allclose(found["pixel_values"][0], by_hand(image, 16), atol=1e-5)


def test_a_processor_saved_with_the_model_is_taken(tmp_path):
    CLIPImageProcessorPil(
        size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8}, image_mean=[0.5] * 3
    ).save_pretrained(tmp_path)
    found = processor_of(str(tmp_path), 16)([np.zeros((20, 20, 3), np.uint8)])["pixel_values"][0]
    assert found.shape == (3, 8, 8)
    np.testing.assert_allclose(found[0], -0.5 / STD[0], rtol=1e-5)


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
                pixel_values=by_hand(image, 16)[None],
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
    with pytest.raises(UserError, match=r"001.png: is no picture of a known format"):
        read_pairs(folder, None, 0)
    (folder / "001.png").unlink()
    with pytest.raises(UserError, match=r"001.png: no such picture"):
        read_pairs(folder, None, 0)
    for row, reason in (
        ({"file_name": "000.png"}, "'text' is missing"),
        ({"file_name": "000.png", "text": " "}, "'text' is empty"),
        ({"file_name": "000.png", "text": ["a", "b"]}, "'text' is no text"),
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
