"""What `accelerate launch` was asked for, where it starts fewer processes and does not say so."""

import os
from itertools import pairwise
from pathlib import Path

ONE = (
    "warning: `accelerate launch` was asked for {count} processes and started one, as it does on a "
    "CPU without mpirun; type `accelerate launch --multi_gpu --num_processes {count} ...`, which "
    "starts {count} on the CPU too"
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
