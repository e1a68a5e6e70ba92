"""The zero-shot judge with models of a known answer and with random ones, loaded from folders."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_detectors import save_knowing_depth, save_knowing_detector, save_masks, tiny_judge
from transformers import AutoTokenizer, Owlv2ForObjectDetection, Owlv2ImageProcessorPil

from ablate2tune.compare.judges import check_judge, load_judge
from ablate2tune.compare.judges.zero_shot import ZeroShotConfig, ZeroShotJudge
from ablate2tune.compare.prompts import Prompt
from ablate2tune.compare.verdicts import give_verdict
from ablate2tune.errors import UserError
from ablate2tune.testbed.architecture import word_tokenizer

RED, GREEN, BLUE, PINK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 0, 110)
COLOURS = {"red ball": RED, "blue cube": BLUE, "green ball": GREEN, "red cube": PINK}
LABELS = list(COLOURS)


@pytest.fixture(scope="module")
def knowing(tmp_path_factory) -> ZeroShotConfig:
    folder = tmp_path_factory.mktemp("knowing")
    return ZeroShotConfig(
        detector=str(save_knowing_detector(folder / "detector", COLOURS)),
        depth=str(save_knowing_depth(folder / "relative")),
        threshold=0.5,
    )


@pytest.fixture(scope="module")
def random(tmp_path_factory) -> ZeroShotConfig:
    return tiny_judge(tmp_path_factory.mktemp("random"), LABELS, threshold=0.05, batch_size=2)


def painted(*places: tuple[int, int, tuple[int, int, int]]) -> np.ndarray:
    """A black picture, 64 x 48, with 8 x 8 squares: (left, top, colour)."""
    picture = np.zeros((48, 64, 3), np.uint8)
    for left, top, colour in places:
        picture[top : top + 8, left : left + 8] = colour
    return picture


def test_boxes_come_in_pixels_of_the_picture(knowing):
    # The detector sees the picture padded to 64 x 64 and reduced to 32 x 32: 8 x 8 patches of 8
    # picture pixels. A box spans 16 pixels about its patch's lower right corner.
    picture = painted((8, 16, RED), (40, 24, BLUE), (24, 40, GREEN))
    found = ZeroShotJudge(knowing, LABELS).detect(picture[None])[0]
    boxes = {detection.label: detection.box for detection in found}
    assert set(boxes) == {"red ball", "blue cube", "green ball"}
    assert boxes["red ball"] == pytest.approx((8, 16, 24, 32), abs=0.05)
    assert boxes["blue cube"] == pytest.approx((40, 24, 56, 40), abs=0.05)
    assert boxes["green ball"] == pytest.approx((24, 40, 40, 48), abs=0.05), "cut at the picture"
    assert found[-1].label == "green ball", "the largest first"
    for detection in found:
        assert detection.mask.shape == (48, 64) and detection.mask.dtype == bool
    by_label = {detection.label: detection for detection in found}
    assert by_label["blue cube"].mask.sum() == 16 * 16


def test_the_second_label_is_kept(knowing):
    found = ZeroShotJudge(knowing, LABELS).detect(painted((8, 16, RED))[None])[0]
    assert [detection.label for detection in found] == ["red ball"]
    label, score = found[0].runner_up
    assert label == "red cube" and 0.5 < score < found[0].score


def block(left: int, top: int, colour: tuple[int, int, int]) -> list:
    """A 16 x 16 object whose upper left quarter is the purest: that patch's box is the object."""
    dull = tuple(max(part, 40) for part in colour)
    corners = ((0, 0, colour), (8, 0, dull), (0, 8, dull), (8, 8, dull))
    return [(left + right, top + down, shade) for right, down, shade in corners]


@pytest.mark.parametrize("kind", ["relative", "metric"])
def test_from_pixels_to_verdicts(knowing, tmp_path, kind):
    # Red is where the relative model gives a large inverse depth, and the metric one many metres.
    depth = save_knowing_depth(tmp_path, kind)
    judge = ZeroShotJudge(knowing.model_copy(update={"depth": str(depth), "overlap": 0.1}), LABELS)
    red_below = painted(*block(24, 24, RED), *block(24, 8, BLUE))
    blue_below = painted(*block(24, 24, BLUE), *block(24, 8, RED))
    found, turned = judge.detect(np.stack([red_below, blue_below]))
    boxes = {detection.label: detection.box for detection in found}
    assert set(boxes) == {"red ball", "blue cube"}
    assert boxes["red ball"] == pytest.approx((24, 24, 40, 40), abs=0.05)
    relation = "in front of" if kind == "relative" else "behind"
    prompt = Prompt("-", relation, "ball", "red", "cube", "blue", 0)
    true, false = (found, turned) if kind == "relative" else (turned, found)
    verdict = give_verdict(prompt, true)
    assert verdict.objects and verdict.relation_read == relation and verdict.spatial
    assert give_verdict(prompt, false).objects and not give_verdict(prompt, false).spatial


def test_scores_are_those_of_the_stock_model_and_processor(random):
    picture = np.random.default_rng(0).integers(0, 256, (40, 64, 3), dtype=np.uint8)
    model = Owlv2ForObjectDetection.from_pretrained(random.detector)
    tokenizer = AutoTokenizer.from_pretrained(random.detector)
    processor = Owlv2ImageProcessorPil.from_pretrained(random.detector)
    texts = [f"a photo of a {label}" for label in LABELS]
    tokens = tokenizer(texts, padding="max_length", max_length=8, return_tensors="pt")
    pixels = processor(images=picture, return_tensors="pt")
    with torch.no_grad():
        outputs = model(
            input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"], **pixels
        )
    (stock,) = processor.post_process_object_detection(outputs, 0.0, [(40, 64)])
    seen = ZeroShotJudge(random, LABELS)._look(picture[None])
    assert np.ptp(seen.scores) > 0.01, "a random model, but not a constant one"
    assert seen.scores[0].max(axis=1) == pytest.approx(stock["scores"].numpy(), abs=1e-5)
    assert (seen.scores[0].argmax(axis=1) == stock["labels"].numpy()).all()
    inside = stock["boxes"].numpy().clip(0, [64, 40, 64, 40])
    assert seen.boxes[0] == pytest.approx(inside, abs=1e-3)


def test_batches_do_not_change_what_is_found(random):
    images = np.random.default_rng(1).integers(0, 256, (5, 32, 48, 3), dtype=np.uint8)
    judge = ZeroShotJudge(random, LABELS)
    together, alone = judge.detect(images), judge.detect(images, batch_size=1)
    assert len(together) == 5 and all(together), "a loud random judge sees something"
    for one, other in zip(together, alone, strict=True):
        assert [d.label for d in one] == [d.label for d in other]
        for a, b in zip(one, other, strict=True):
            assert a.box == pytest.approx(b.box, abs=1e-3)
            assert a.depth == pytest.approx(b.depth, abs=1e-3, nan_ok=True)


def test_with_the_pixels_of_each_box_the_spread_of_its_depth_is_known(random, tmp_path):
    masked = random.model_copy(update={"masks": str(save_masks(tmp_path / "masks"))})
    picture = np.random.default_rng(1).integers(0, 256, (1, 32, 48, 3), dtype=np.uint8)
    (plain,), (found,) = (ZeroShotJudge(c, LABELS).detect(picture) for c in (random, masked))
    assert [d.box for d in plain] == [d.box for d in found] and found
    assert all(d.spread is None for d in plain)
    for detection in found:
        left, top, right, bottom = (round(edge) for edge in detection.box)
        outside = detection.mask.copy()
        outside[top:bottom, left:right] = False
        assert detection.mask.any() and not outside.any()
        assert detection.spread is not None and detection.spread >= 0
    with pytest.raises(UserError, match=r"judge\.masks = .*'owlv2', where 'sam' is needed"):
        check_judge(random.model_copy(update={"masks": random.detector}))


def test_description_and_labels(random):
    judge = load_judge(random, labels=LABELS)
    assert judge.labels == LABELS
    told = judge.describe()
    assert told["kind"] == "zero-shot" and told["settings"]["detector"] == random.detector
    json.dumps(told)
    with pytest.raises(UserError, match="not told what to look for"):
        load_judge(random)


def changed(config: ZeroShotConfig, folder: Path, key: str) -> tuple[ZeroShotConfig, Path]:
    """The judge with a copy of one of its models, to be damaged."""
    copy = folder / key
    shutil.copytree(getattr(config, key), copy)
    return config.model_copy(update={key: str(copy)}), copy


def test_models_that_are_not_there_or_of_another_kind(random, tmp_path):
    def refused(words: str, **settings) -> None:
        with pytest.raises(UserError, match=words) as caught:
            check_judge(random.model_copy(update=settings))
        assert "\n" not in str(caught.value)

    check_judge(random)
    check_judge(None)
    refused(r"compare\.judge\.detector = ./owl: no such folder, and no hub", detector="./owl")
    near = random.depth.removesuffix("depth") + "dept"
    refused(r"compare\.judge\.depth = .*did you mean '.*/depth'", depth=near)
    refused("no such folder, and no hub name", detector="owlv2")
    refused(r"holds no config\.json", detector=str(tmp_path))
    refused("'depth_anything', where 'owlv2' is needed", detector=random.depth)
    refused("'owlv2', where 'depth_anything' is needed", depth=random.detector)


def test_damaged_models(random, tmp_path):
    torn, folder = changed(random, tmp_path / "torn", "detector")
    (folder / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(UserError, match=r"judge\.detector = .*cannot load it"):
        ZeroShotJudge(torn, LABELS)

    pickled, folder = changed(random, tmp_path / "pickled", "depth")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"judge\.depth = .*cannot load it.*safetensors"):
        ZeroShotJudge(pickled, LABELS)

    from safetensors.torch import load_file, save_file

    partial, folder = changed(random, tmp_path / "partial", "detector")
    weights = load_file(folder / "model.safetensors")
    del weights["box_head.dense0.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"1 weights are missing, box_head\.dense0\.weight first"):
        ZeroShotJudge(partial, LABELS)

    bare, folder = changed(random, tmp_path / "bare", "depth")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(UserError, match=r"judge\.depth = .*cannot load it"):
        ZeroShotJudge(bare, LABELS)


def test_a_query_that_is_too_long_is_refused(random, tmp_path):
    worded, folder = changed(random, tmp_path, "detector")
    word_tokenizer(["a", "red", "ball"], 8, start=True).save_pretrained(folder)
    assert ZeroShotJudge(worded, ["red ball"]).labels == ["red ball"]
    wordy = worded.model_copy(update={"query": "this is a photo of {}"})  # 5 + 3 + 2 tokens
    with pytest.raises(UserError, match=r"compare\.judge\.query: .*more than the 8 tokens"):
        ZeroShotJudge(wordy, ["red ball"])
