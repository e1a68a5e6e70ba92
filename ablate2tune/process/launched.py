"""What `accelerate launch` was asked for, and does not do or is not served: that is said."""

import os
from itertools import pairwise
from pathlib import Path

from ablate2tune.errors import UserError

DIVIDING = {
    "ACCELERATE_USE_FSDP": "--use_fsdp",
    "ACCELERATE_USE_DEEPSPEED": "--use_deepspeed",
    "ACCELERATE_USE_MEGATRON_LM": "--use_megatron_lm",
}
"""Variables of accelerate by which a model is to be divided, and the options that set them."""
FSDP2 = {
    "FSDP_VERSION": ("2", "give --fsdp_version 2"),
    "FSDP_RESHARD_AFTER_FORWARD": ("true", "leave it out"),
    "FSDP_SHARDING_STRATEGY": ("full_shard", "leave it out"),
    "FSDP_OFFLOAD_PARAMS": ("false", "leave it out"),
    "FSDP_ACTIVATION_CHECKPOINTING": ("false", "leave it out; train.checkpointing says it"),
    "ACCELERATE_USE_PARALLELISM_CONFIG": ("false", "leave it out"),
}
"""What they must be where a model is divided; all but the first are so by default."""
FULL_SHARD = "1"
"""`full_shard` by its number, as accelerate takes it too."""
ONE = (
    "warning: `accelerate launch` was asked for {count} processes and started one, as it does on a "
    "CPU without mpirun; type `accelerate launch --multi_gpu --num_processes {count} ...`, which "
    "starts {count} on the CPU too"
)


def check_launcher(served: bool = False) -> None:
    """Refuse a launcher that was asked to divide the model in a way that is not served.

    Args:
        served: whether a model may be divided by FSDP2.

    Raises:
        UserError: each process would hold all of the model, or as much of it as was not asked for,
            without a word.
    """
    for name, flag in DIVIDING.items():
        if not _is_on(name) or (served and flag == "--use_fsdp"):
            continue
        raise UserError(
            "the model is not divided among processes: each holds all of it, and they divide "
            "each step's pictures",
            where=f"accelerate launch {flag}",
            mend="use --multi_gpu in its place; for less memory set model.quantize=nf4 or "
            "train.checkpointing=on" + (", or use --use_fsdp --fsdp_version 2" * served),
        )
    if not _is_on("ACCELERATE_USE_FSDP"):
        return
    for name, (value, mend) in FSDP2.items():
        found = os.environ.get(name, "1" if name == "FSDP_VERSION" else value).lower()
        if name == "FSDP_SHARDING_STRATEGY" and found == FULL_SHARD:
            continue
        if found != value:
            option = name.lower().removeprefix("accelerate_")
            raise UserError(
                f"a model is divided by FSDP2 with {option} = {value} alone",
                where=f"accelerate launch --{option} {found}",
                mend=mend,
            )


def divided_among() -> int:
    """Among how many processes the launcher divides the model; 1: each holds all of it."""
    return int(os.environ.get("WORLD_SIZE", "1")) if _is_on("ACCELERATE_USE_FSDP") else 1


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


def _is_on(name: str) -> bool:
    return os.environ.get(name, "false").lower() in ("1", "true", "yes", "on")


def _parents() -> list[str]:
    try:
        return Path(f"/proc/{os.getppid()}/cmdline").read_text(encoding="utf-8").split("\0")
    except (OSError, UnicodeDecodeError):
        return []
