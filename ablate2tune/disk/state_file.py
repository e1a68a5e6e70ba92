"""Training state as one safetensors file: tensors, optimizer moments and counters, no pickle."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ablate2tune.errors import UserError, reason
from ablate2tune.files import write_bytes


def save_state(path: Path, tensors: dict[str, Tensor], counters: dict[str, Any]) -> None:
    """Write tensors and JSON-able counters as one whole file (see `files.write_bytes`)."""
    contiguous = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    write_bytes(path, save(contiguous, {"counters": json.dumps(counters)}))


def load_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_state` wrote.

    Raises:
        UserError: the file is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, json.loads(file.metadata()["counters"])
    except (SafetensorError, OSError, TypeError, KeyError, ValueError) as error:
        raise UserError(
            f"damaged checkpoint ({reason(error)})",
            where=str(path),
            mend="delete it to start again",
        ) from error


def optimizer_tensors(
    optimizer: torch.optim.Optimizer, prefix: str = "optimizer"
) -> dict[str, Tensor]:
    """The optimizer's moments as named tensors, `prefix.<parameter index>.<name>`."""
    state = optimizer.state_dict()["state"]
    return {
        f"{prefix}.{index}.{name}": value
        for index, values in state.items()
        for name, value in values.items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], prefix: str = "optimizer"
) -> None:
    """Put moments written by `optimizer_tensors` back; rates stay the optimizer's own."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(f"{prefix}."):
            index, name = key.removeprefix(f"{prefix}.").split(".", 1)
            state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )
