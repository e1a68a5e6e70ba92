"""Directions for mode project_out: learnt from two groups of examples, or read from a file."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ablate2tune.ablation.recording import recorded
from ablate2tune.ablation.sites import sites_of
from ablate2tune.components import discover
from ablate2tune.errors import UserError


@torch.no_grad()
def learn_directions(
    model: nn.Module,
    addresses: Sequence[str],
    run_one: Callable[[], object],
    run_other: Callable[[], object],
) -> dict[str, Tensor]:
    """Difference of the mean activations of two groups, over examples and tokens, of length 1.

    Difference-in-means, as Marks & Tegmark 2023 (arXiv:2310.06824) use it.

    Args:
        model: the model.
        addresses: what the directions are for; one that names columns gets one of their width.
        run_one: calls the model on one group of examples.
        run_other: on the other.

    Returns:
        (channels,) float32 by address.

    Raises:
        UserError: an address is no component or is never called, or the groups do not differ.
    """
    found = {}
    for address in addresses:
        one, other = (_mean(model, address, run) for run in (run_one, run_other))
        difference = one - other
        norm = difference.norm()
        if not torch.isfinite(norm) or norm == 0:
            raise UserError("the two groups have the same mean here", where=address)
        found[address] = difference / norm
    return found


def _mean(model: nn.Module, address: str, run: Callable[[], object]) -> Tensor:
    sites = {site.key: site for site in sites_of(model, discover(model), address)}
    total, count = 0.0, 0

    def add(key: str, tensors: list[Tensor]) -> None:
        nonlocal total, count
        site = sites[key]
        if site.stream is not None and len(tensors) == 2 and not site.is_block:
            tensors = tensors[:1] if site.stream == "image" else tensors[1:]
        for tensor in tensors:
            flat = tensor.float().flatten(0, -2)
            flat = flat if site.columns is None else flat[:, list(site.columns)]
            total, count = total + flat.sum(0), count + len(flat)

    with recorded(model, [address], add):
        run()
    return torch.as_tensor(total / count)


def load_directions(path: Path) -> dict[str, Tensor]:
    """Directions from a safetensors file: (channels,) by address.

    Raises:
        UserError: there is no such file, it is damaged, or a tensor is no vector.
    """
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot be read ({error})", where=str(path)) from error
    for address, direction in found.items():
        if direction.ndim != 1:
            raise UserError(f"{address} is not a vector: {tuple(direction.shape)}", where=str(path))
    return found
