"""Trains in a process of its own: run_training.py MODEL SCENES FOLDER CONFIG [STEP_TO_DIE_AT]."""

import os
import signal
import sys
from pathlib import Path

import torch
from accelerate import PartialState

from ablate2tune.models import load_denoiser
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.scenes.dataset.records import read_dataset
from ablate2tune.train import train
from ablate2tune.train.train_config import TrainConfig

TARGETS = ["transformer_blocks.1.attn.to_q", "single_transformer_blocks.0.proj_out"]

model, scenes, folder, config, *die = sys.argv[1:]
torch.set_num_threads(1)


def report(done: int, total: int, note: str) -> None:
    if die and done == int(die[0]):
        os.kill(os.getpid(), signal.SIGKILL)


train(
    load_denoiser(
        ModelConfig(path=model, device="cpu", height=32, width=32, max_sequence_length=16)
    ),
    read_dataset(Path(scenes)),
    TARGETS,
    TrainConfig.model_validate_json(config),
    3,
    Path(folder),
    sample_steps=2,
    on_progress=report,
)
print(f"one of {PartialState().num_processes}")
