"""Localizes in a process of its own: run_localize.py MODEL RECORDS FOLDER CONFIG [REPORTS]."""

import json
import os
import signal
import sys
from pathlib import Path

import torch
from accelerate import PartialState

from ablate2tune.contrasts.contrast import Contrast
from ablate2tune.localize.localize_config import LocalizeConfig
from ablate2tune.localize.localizing import localize
from ablate2tune.models import load_denoiser
from ablate2tune.models.model_config import ModelConfig

model, records, folder, config, *die = sys.argv[1:]
torch.set_num_threads(1)
reports = 0


def report(done: int, total: int) -> None:
    global reports
    reports += 1
    if die and reports == int(die[0]):
        os.kill(os.getpid(), signal.SIGKILL)


localize(
    load_denoiser(
        ModelConfig(path=model, device="cpu", height=32, width=32, max_sequence_length=16)
    ),
    [Contrast(**row | {"payload": Path(row["payload"])}) for row in json.loads(records)],
    LocalizeConfig.model_validate_json(config),
    11,
    Path(folder),
    report,
)
print(f"one of {PartialState().num_processes}")
