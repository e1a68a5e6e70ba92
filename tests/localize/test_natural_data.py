"""localize and train on thirteen relations and every object, as render-data writes them."""

import json

import numpy as np
import pytest
from PIL import Image
from tiny_parts import TINY  # type: ignore[import-not-found]

from ablate2tune import files
from ablate2tune.contrasts.makers.rendered_scenes import scene_contrasts
from ablate2tune.localize.findings.information import check_information
from ablate2tune.localize.localize_config import LocalizeConfig
from ablate2tune.localize.localizing import localize
from ablate2tune.models import load_denoiser
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.scenes.dataset.records import read_dataset
from ablate2tune.scenes.layouts.natural import sample_natural_group
from ablate2tune.scenes.scenes_config import ScenesConfig
from ablate2tune.scenes.vocabulary import CONTRAST
from ablate2tune.statistics.resampling import Resampling
from ablate2tune.testbed.architecture import build_pipeline
from ablate2tune.testbed.text import word_list
from ablate2tune.train import train
from ablate2tune.train.train_config import TrainConfig

GROUPS = 2 * len(CONTRAST)


@pytest.fixture(scope="module")
def natural_records(tmp_path_factory):
    """The rows of a natural set, two groups of each relation; its pictures are noise."""
    folder = tmp_path_factory.mktemp("natural")
    config = ScenesConfig(
        world="natural", images=2 * GROUPS, holdout=0.0, objects=["all"], relations=list(CONTRAST)
    )
    rng = np.random.default_rng(4)
    rows = []
    (folder / "images").mkdir()
    for index in range(GROUPS):
        for twin in sample_natural_group(config, 3, index, 0, "train")["twins"]:
            rows.append(twin["record"])
            pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / twin["record"]["file_name"])
    files.write_jsonl(folder / "metadata.jsonl", rows)
    return read_dataset(folder)


def test_every_relation_is_there(natural_records):
    assert {record.relation for record in natural_records} == set(CONTRAST)
    assert any("person in" in record.text for record in natural_records)


@pytest.fixture(scope="module")
def model(natural_records, tmp_path_factory):
    """A tiny FLUX whose tokenizer knows the words of these captions."""
    folder = tmp_path_factory.mktemp("tiny-natural")
    told = [t for r in natural_records for t in (r.text, r.foil, r.foil_colour, r.pair_text)]
    words = sorted({*word_list(), *" ".join(told).split()})
    build_pipeline(words, TINY, seed=0).save_pretrained(folder)
    return ModelConfig(path=str(folder), device="cpu", height=32, width=32, max_sequence_length=24)


def test_localize(natural_records, model, tmp_path):
    config = LocalizeConfig(
        groups=13, calibration_groups=6, sigmas=[0.8], top_blocks=1, bootstrap=100
    )
    contrasts = scene_contrasts(natural_records).examples
    localize(load_denoiser(model), contrasts, config, 1, tmp_path)
    asked = {
        p["question"] for p in json.loads((tmp_path / "information.json").read_text())["readouts"]
    }
    # Three objects that change places show one relation: nothing for a probe to tell apart.
    assert asked == {
        "above / below", "behind / in front of", "far from / near", "inside / next to",
        "left of / right of", "on top of / underneath", "subject or object",
    }  # fmt: skip
    assert (tmp_path / "ranking.json").exists()


def test_train(natural_records, tiny_flux_config, tmp_path):
    config = TrainConfig(rank=1, steps=2, batch_size=2, validation_images=2, sample_prompts=1)
    targets = ["transformer_blocks.0.attn.to_q"]
    summary = train(
        load_denoiser(tiny_flux_config), natural_records, targets, config, 1, tmp_path,
        sample_steps=1,
    )  # fmt: skip
    assert summary.injected == targets


class Spans:
    """An encoder that remembers which words it was asked to look at."""

    def __init__(self):
        self.asked = []

    def token_span(self, prompt, start, end):
        self.asked.append((prompt, prompt[start:end]))
        return slice(0, 1)


def test_the_role_probe_exchanges_the_phrases_of_natural_captions(natural_records, monkeypatch):
    record = next(r for r in natural_records if r.relation == "between")
    first, rest = record.text.split(" between ")
    second, third = rest.split(" and ")
    spans = Spans()
    monkeypatch.setattr(
        "ablate2tune.localize.findings.information._features",
        lambda denoiser, texts, reduce: np.zeros((len(texts), 1)),
    )
    monkeypatch.setattr("ablate2tune.localize.findings.information._axes", lambda records: {})
    check_information(spans, scene_contrasts([record]).examples, Resampling(0, 1, 0.9))
    one, other = (phrase.split(" ", 1)[1] for phrase in (first, second))
    swapped = f"{second} between {first} and {third}"
    assert spans.asked == [
        (record.text, one), (record.text, other), (swapped, other), (swapped, one),
    ]  # fmt: skip
