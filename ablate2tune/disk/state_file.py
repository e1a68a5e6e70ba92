"""Training state as one safetensors file: tensors, optimizer moments and counters, no pickle."""

import json
from collections.abc import Mapping
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
    return {
        f"{prefix}.{index}.{name}": value
        for index, values in _states(optimizer).items()
        for name, value in values.items()
        if isinstance(value, Tensor)
    }


def optimizer_numbers(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """What changes of an optimizer beside its tensors and its rate, JSON-able; none of AdamW's.

    That are counts of its own below `states`, by parameter index, and below `groups` the numbers
    that are not as the optimizer began with (Prodigy's estimates).
    """

    def numbers(values: Mapping[str, Any]) -> dict[str, Any]:
        kept = {k: v for k, v in values.items() if type(v) in (int, float) and k != "lr"}
        return {k: v for k, v in kept.items() if optimizer.defaults.get(k) != v}

    states = {str(i): told for i, values in _states(optimizer).items() if (told := numbers(values))}
    groups = [numbers(group) for group in optimizer.param_groups]
    return {"states": states, "groups": groups} if states or any(groups) else {}


def _states(optimizer: torch.optim.Optimizer) -> dict[int, dict[str, Any]]:
    """By parameter index; what bitsandbytes keeps one level deeper is brought up."""
    return {
        index: {
            name: value
            for key, held in values.items()
            for name, value in (held.items() if isinstance(held, Mapping) else [(key, held)])
        }
        for index, values in optimizer.state_dict()["state"].items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer,
    tensors: dict[str, Tensor],
    prefix: str = "optimizer",
    numbers: Mapping[str, Any] | None = None,
) -> None:
    """Put moments written by `optimizer_tensors` back, and perhaps `optimizer_numbers`.

    Rates stay the optimizer's own.
    """
    state: dict[int, dict[str, Any]] = {}
    for key, value in tensors.items():
        if key.startswith(f"{prefix}."):
            index, name = key.removeprefix(f"{prefix}.").split(".", 1)
            state.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    if numbers:
        for index, values in numbers["states"].items():
            state.setdefault(int(index), {}).update(values)
        groups = [{**group, **own} for group, own in zip(groups, numbers["groups"], strict=True)]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
