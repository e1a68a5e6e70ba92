"""A tiny random judge, and scenes with few words."""

import json
from pathlib import Path

import pytest
import torch
from placing import LABELS
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from ablate2tune.scenes.scenes_config import ScenesConfig


@pytest.fixture
def few_words() -> ScenesConfig:
    """3 colours x 2 kinds, every pair held out: 24 ordered pairs of different colours."""
    return ScenesConfig(objects=["ball", "cube"], colours=["red", "green", "blue"], holdout=1.0)


@pytest.fixture(scope="session")
def judge_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random SegFormer with a depth channel, loud enough to see objects in noise."""
    folder = tmp_path_factory.mktemp("judge")
    names = dict(enumerate(["background", *LABELS, "depth"]))
    torch.manual_seed(3)
    model = SegformerForSemanticSegmentation(
        SegformerConfig(
            depths=[1, 1, 1, 1],
            hidden_sizes=[8, 8, 8, 8],
            num_attention_heads=[1, 1, 1, 1],
            decoder_hidden_size=16,
            id2label=names,
            label2id={name: index for index, name in names.items()},
        )
    )
    torch.nn.init.normal_(model.decode_head.classifier.weight, std=3.0)
    model.save_pretrained(folder)
    settings = {
        "schema": "ablate2tune/judge/1", "depth_scale": 2.0, "depth_offset": 5.0, "min_area": 0.02,
    }  # fmt: skip
    (folder / "judge.json").write_text(json.dumps(settings))
    return folder
