"""Trains in a process of its own: run_training.py MODEL SCENES FOLDER CONFIG [STEP_TO_DIE_AT].

With "kills=30" for the step, the run is killed so often at random moments, and then ends.
"""

import functools
import os
import random
import signal
import sys
import time
from collections.abc import Callable
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


def trained(
    report: Callable[[int, int, str], None], say: Callable[[str], None] | None = None
) -> None:
    train(
        load_denoiser(
            ModelConfig(path=model, device="cpu", height=32, width=32, max_sequence_length=16),
            encoders_first=True,
        ),
        read_dataset(Path(scenes)),
        TARGETS,
        TrainConfig.model_validate_json(config),
        3,
        Path(folder),
        sample_steps=2,
        on_progress=report,
        on_message=say,
    )


def tell(pipe: int, done: int, total: int, note: str) -> None:
    os.write(pipe, bytes([done]))


def killed_at_random(kills: int) -> None:
    """Each child is killed some steps after its start and a part of a step later, or before.

    Children are forked, so that the libraries are read but once. How far each came is printed.
    """
    rng, took, seen = random.Random(11), 0.05, list[bytes]()
    while True:
        readable, writable = os.pipe()
        child = os.fork()
        if not child:
            os.close(readable)
            trained(functools.partial(tell, writable))
            os._exit(0)
        os.close(writable)
        if kills:
            seen.clear()
            clock = 0.0
            for _ in range(rng.randrange(4)):
                clock = time.perf_counter()
                seen.append(os.read(readable, 1))
            took = time.perf_counter() - clock if len(seen) > 1 else took
            time.sleep(rng.random() * took)
            os.kill(child, signal.SIGKILL)
        # What the child had told before it died, and how it died.
        told = b"".join(seen) + os.fdopen(readable, "rb").read()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print("killed" if status == -signal.SIGKILL else f"ended {status}", *told[-1:], flush=True)
        if not kills:
            return
        kills -= 1


def report(done: int, total: int, note: str) -> None:
    if die and done == int(die[0]):
        os.kill(os.getpid(), signal.SIGKILL)


if die and die[0].startswith("kills="):
    killed_at_random(int(die[0].removeprefix("kills=")))
else:
    trained(report, print)
    print(f"one of {PartialState().num_processes}")
