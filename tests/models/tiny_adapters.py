"""Tiny pipelines on disk, and adapters that change what they predict."""

from pathlib import Path

import torch
from peft import LoraConfig
from tiny_parts import drawn
from tiny_pipelines import Family

from ablate2tune.components import discover
from ablate2tune.models import AdapterNote, Denoiser, load_denoiser
from ablate2tune.models.adapter_files import attach
from ablate2tune.models.model_config import ModelConfig

SIZE, RANK = 32, 2


def saved(family: Family, folder: Path) -> Denoiser:
    """A pipeline of the family with drawn weights, loaded from disk."""
    torch.manual_seed(0)
    pipe = family.build()
    drawn(pipe.components.get("transformer") or pipe.unet)
    pipe.save_pretrained(folder)
    size = {"height": SIZE, "width": SIZE, "max_sequence_length": family.tokens}
    return load_denoiser(ModelConfig(path=str(folder), device="cpu", **size))


def adapt(denoiser: Denoiser, acts_above: float = 0.0) -> AdapterNote:
    """Attach an adapter that changes the prediction to three layers of the last block."""
    targets = list(discover(denoiser.model).blocks[-1].linears[:3])
    attach(denoiser.model, LoraConfig(r=RANK, lora_alpha=RANK, target_modules=targets))
    torch.manual_seed(1)
    for name, parameter in denoiser.model.named_parameters():
        if "lora_" in name:
            parameter.data.normal_()
    return AdapterNote(
        base="content b",
        rank=RANK,
        targets=targets,
        seed=3,
        height=SIZE,
        width=SIZE,
        acts_above=acts_above,
    )
