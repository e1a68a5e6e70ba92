"""Stable Diffusion 3 compared through the family's interface."""

import numpy as np
import torch
from peft import LoraConfig
from tiny_flow import stable_diffusion_3

from ablate2tune.ablation.interventions import Ablation
from ablate2tune.compare.arms import Arm
from ablate2tune.compare.compare import compare
from ablate2tune.compare.compare_config import CompareConfig
from ablate2tune.models import load_denoiser
from ablate2tune.models.adapter_files import AdapterNote, attach
from ablate2tune.models.model_config import ModelConfig

TARGETS = ["transformer_blocks.0.attn.to_q", "transformer_blocks.1.attn.to_out.0"]


def test_arms_of_stable_diffusion_3(tmp_path, few_words):
    torch.manual_seed(0)
    stable_diffusion_3().save_pretrained(tmp_path / "model")
    model = ModelConfig(
        path=str(tmp_path / "model"), device="cpu", height=32, width=32, max_sequence_length=16
    )
    trained = load_denoiser(model)
    attach(trained.model, LoraConfig(r=2, lora_alpha=2, target_modules=TARGETS))
    for name, parameter in trained.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=5.0)
    note = AdapterNote(base="b", rank=2, targets=TARGETS, seed=0, height=32, width=32)
    adapter = trained.save_adapter(tmp_path / "adapter", note).parent

    denoiser = load_denoiser(model)
    before = [parameter.clone() for parameter in denoiser.model.parameters()]
    skipped = (Ablation("transformer_blocks.0", "skip"),)
    arms = [Arm("base"), Arm("tuned", adapter), Arm("skipped", None, skipped)]
    config = CompareConfig(prompts=2, plain_prompts=1, steps=2, batch_size=3)
    shown = compare(denoiser, arms, few_words, [], config, 1, tmp_path / "out", model="m")
    base, tuned, without = (np.stack([one.pixels() for one in arm]) for arm in shown.values())
    assert (base != tuned).any() and (base != without).any() and (tuned != without).any()
    trained_pixels = trained.sample(
        [one.prompt.text for one in shown["tuned"]], [one.seed for one in shown["tuned"]], 2
    )
    assert (tuned == trained_pixels).all()
    for old, new in zip(before, denoiser.model.parameters(), strict=True):
        assert torch.equal(old, new), "the base is as it was"
