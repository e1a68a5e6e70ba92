"""Ranks by pictures in a process of its own: run_generate.py MODEL FOLDER CONFIG."""

import sys
from pathlib import Path

import torch
from accelerate import PartialState

from ablate2tune.localize.localize_config import LocalizeConfig
from ablate2tune.localize.localizing import localize
from ablate2tune.models import load_denoiser
from ablate2tune.models.model_config import ModelConfig

model, folder, config = sys.argv[1:]
torch.set_num_threads(1)
localize(
    load_denoiser(
        ModelConfig(path=model, device="cpu", height=32, width=32, max_sequence_length=16)
    ),
    [],
    LocalizeConfig.model_validate_json(config),
    11,
    Path(folder),
)
print(f"one of {PartialState().num_processes}")
