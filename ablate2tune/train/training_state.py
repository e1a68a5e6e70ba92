"""Checkpoints: adapter and optimizer in one file, replaced whole; resuming is bit for bit."""

import hashlib
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from ablate2tune import files
from ablate2tune.disk.state_file import (
    load_state,
    optimizer_numbers,
    optimizer_tensors,
    restore_optimizer,
    save_state,
)
from ablate2tune.errors import UserError

PREFIX, MORE = "adapter ", "method "
"""Of the names in the file of parameters, and of what a way to adapt keeps beside them."""


class Checkpoint:
    """The state of a run in one file, replaced in one rename."""

    def __init__(
        self,
        path: Path,
        identity: dict[str, Any],
        parameters: dict[str, nn.Parameter],
        optimizer: torch.optim.Optimizer,
        more: Mapping[str, Tensor] | None = None,
    ):
        """Of the trained parameters by name, in the order of the optimizer's one group.

        `identity` is JSON-able: the settings that a resumed run must share. `more` are further
        tensors that change as training goes on.
        """
        self.path, self._identity = path, identity
        self._parameters, self._optimizer, self._more = parameters, optimizer, more or {}

    def save(self, step: int) -> None:
        """Write the state after `step`.

        Raises:
            UserError: the file cannot be written; the checkpoint before it stays.
        """
        tensors: dict[str, Tensor] = {PREFIX + name: p for name, p in self._parameters.items()}
        tensors |= {MORE + name: tensor for name, tensor in self._more.items()}
        tensors |= optimizer_tensors(self._optimizer)
        counters: dict[str, Any] = {"step": step, "identity": self._identity}
        if numbers := optimizer_numbers(self._optimizer):
            counters["optimizer"] = numbers
        save_state(self.path, tensors, counters)

    def load(self) -> int:
        """Restore the state in place and return its step; 0 if there is no checkpoint.

        Raises:
            UserError: the file is damaged or belongs to other settings.
        """
        if not self.path.exists():
            return 0
        tensors, note = load_state(self.path)
        differing = files.differences(note["identity"], self._identity)
        if differing:
            again = f"`rm -r {shlex.quote(str(self.path.parent))}`"
            raise UserError(
                f"belongs to other settings: {'; '.join(differing[:3])}",
                where=str(self.path),
                mend=f"to train again from the start, {again}; to keep it, another folder",
            )
        put_back(self._parameters, tensors, PREFIX)
        put_back(self._more, tensors, MORE)
        restore_optimizer(self._optimizer, tensors, numbers=note.get("optimizer"))
        return int(note["step"])


@torch.no_grad()
def put_back(
    parameters: Mapping[str, Tensor], tensors: Mapping[str, Tensor], prefix: str = ""
) -> None:
    """Copy tensors of the same names, after a prefix, into the parameters."""
    for name, parameter in parameters.items():
        parameter.copy_(tensors[prefix + name])


def tensors_hash(tensors: Mapping[str, Tensor]) -> str:
    """Hash of tensors by their names and their values."""
    held = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())}
    return hashlib.sha256(save(held)).hexdigest()
