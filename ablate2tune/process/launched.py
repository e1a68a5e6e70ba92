"""What `accelerate launch` was asked for, and does not do or is not served: that is said."""

import os
from itertools import pairwise
from pathlib import Path

from ablate2tune.errors import UserError

SHARDING = {"ACCELERATE_USE_FSDP": "--use_fsdp", "ACCELERATE_USE_DEEPSPEED": "--use_deepspeed"}
"""Variables of accelerate by which a model is to be divided, and the options that set them."""
ONE = (
    "warning: `accelerate launch` was asked for {count} processes and started one, as it does on a "
    "CPU without mpirun; type `accelerate launch --multi_gpu --num_processes {count} ...`, which "
    "starts {count} on the CPU too"
)


def check_launcher() -> None:
    """Refuse a launcher that was asked to divide the model among its processes.

    Raises:
        UserError: it was. Each process would hold all of the model, without a word.
    """
    for name, flag in SHARDING.items():
        if os.environ.get(name, "false").lower() in ("1", "true", "yes", "on"):
            raise UserError(
                "the model is not divided among processes: each holds all of it, and they divide "
                "each step's pictures",
                where=f"accelerate launch {flag}",
                mend="use --multi_gpu in its place; for less memory set model.quantize=nf4 or "
                "train.checkpointing=on",
            )


def missing_processes(command: list[str] | None = None) -> str | None:
    """What to say where a launcher started a single process in place of several; None elsewhere.

    Args:
        command: of the launcher; None: what started this process, where the system tells (Linux).
    """
    if "WORLD_SIZE" in os.environ or "ACCELERATE_USE_CPU" not in os.environ:
        return None
    told = _parents() if command is None else command
    words = [part for word in told for part in word.replace("-processes", "_processes").split("=")]
    for word, value in pairwise(words):
        if word == "--num_processes" and value.isdecimal() and int(value) > 1:
            return ONE.format(count=value)
    return None


def _parents() -> list[str]:
    try:
        return Path(f"/proc/{os.getppid()}/cmdline").read_text(encoding="utf-8").split("\0")
    except (OSError, UnicodeDecodeError):
        return []
