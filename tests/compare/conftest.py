"""A tiny random judge and adapter, and scenes with few words."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import FluxPipeline
from peft import LoraConfig, get_peft_model_state_dict
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


@pytest.fixture(scope="session")
def adapter(tmp_path_factory, tiny_flux_folder) -> Path:
    """A LoRA made by peft alone, strong enough to change pictures."""
    folder = tmp_path_factory.mktemp("adapter")
    pipe = FluxPipeline.from_pretrained(tiny_flux_folder)
    torch.manual_seed(0)
    pipe.transformer.add_adapter(
        LoraConfig(
            r=2, lora_alpha=2, target_modules=["transformer_blocks.0.attn.to_q", "norm_out.linear"]
        )
    )
    for name, parameter in pipe.transformer.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    pipe.save_lora_weights(
        folder, transformer_lora_layers=get_peft_model_state_dict(pipe.transformer)
    )
    return folder
