"""Checkpoints: adapter and optimizer in one file, replaced whole; resuming is bit for bit."""

import shlex
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ablate2tune import runs
from ablate2tune.disk.state_file import load_state, optimizer_tensors, restore_optimizer, save_state
from ablate2tune.errors import UserError


def save_checkpoint(
    path: Path,
    step: int,
    identity: dict[str, Any],
    parameters: dict[str, nn.Parameter],
    optimizer: torch.optim.AdamW,
) -> None:
    """Write the state after `step`; the file before it is replaced in one rename.

    Args:
        path: the file.
        step: the last step done.
        identity: JSON-able settings that a resumed run must share.
        parameters: the trained parameters by name, in the optimizer's order.
        optimizer: holds one group with these parameters.

    Raises:
        UserError: the file cannot be written; the checkpoint before it stays.
    """
    tensors: dict[str, Tensor] = {f"adapter {name}": p for name, p in parameters.items()}
    tensors |= optimizer_tensors(optimizer)
    save_state(path, tensors, {"step": step, "identity": identity})


def load_checkpoint(
    path: Path,
    identity: dict[str, Any],
    parameters: dict[str, nn.Parameter],
    optimizer: torch.optim.AdamW,
) -> int:
    """Restore the state in place and return its step; 0 if there is no checkpoint.

    Raises:
        UserError: the file is damaged or belongs to other settings.
    """
    if not path.exists():
        return 0
    tensors, note = load_state(path)
    differing = runs.differences(note["identity"], identity)
    if differing:
        raise UserError(
            f"belongs to other settings: {'; '.join(differing[:3])}",
            where=str(path),
            mend=f"to train again from the start, `rm -r {shlex.quote(str(path.parent))}`; to keep "
            "it, another folder",
        )
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[f"adapter {name}"])
    restore_optimizer(optimizer, tensors)
    return int(note["step"])
