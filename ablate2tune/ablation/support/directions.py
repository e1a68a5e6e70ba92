"""Directions for mode project_out: learnt from two groups of examples, or read from a file."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ablate2tune.ablation.sites import Site, sites_of
from ablate2tune.ablation.support.recording import recorded
from ablate2tune.components import discover
from ablate2tune.errors import UserError


@torch.no_grad()
def learn_directions(
    model: nn.Module,
    addresses: Sequence[str],
    run_one: Callable[[], object],
    run_other: Callable[[], object],
    unit: bool = True,
) -> dict[str, Tensor]:
    """Difference of the mean activations of two groups, over examples and tokens, of length 1.

    Difference-in-means, as Marks & Tegmark 2023 (arXiv:2310.06824) use it: (channels,) float32 by
    address, of the columns' width where it names some. Each `run` calls the model on one group.
    With `unit` false the length is as it is: zero where the groups do not differ.

    Raises:
        UserError: an address is no component or is never called, or the groups do not differ.
    """
    one, other = (_means(model, addresses, run) for run in (run_one, run_other))
    found = {address: one[address] - other[address] for address in addresses}
    for address, difference in found.items() if unit else ():
        norm = difference.norm()
        if not torch.isfinite(norm) or norm == 0:
            raise UserError("the two groups have the same mean here", where=address)
        found[address] = difference / norm
    return found


def _means(
    model: nn.Module, addresses: Sequence[str], run: Callable[[], object]
) -> dict[str, Tensor]:
    """Mean over examples and tokens of every address's activation, in one run."""
    catalogue = discover(model)
    places: dict[str, list[tuple[str, Site]]] = {}
    for address in addresses:
        for site in sites_of(model, catalogue, address):
            places.setdefault(site.key, []).append((address, site))
    totals: dict[str, Tensor] = {}
    counts = dict.fromkeys(addresses, 0)

    def add(key: str, tensors: list[Tensor]) -> None:
        for address, site in places[key]:
            chosen = tensors
            if site.stream is not None and len(tensors) == 2 and not site.is_block:
                chosen = tensors[:1] if site.stream == "image" else tensors[1:]
            for tensor in chosen:
                flat = tensor.float().flatten(0, -2)
                flat = flat if site.columns is None else flat[:, list(site.columns)]
                totals[address] = flat.sum(0) + totals.get(address, 0)
                counts[address] += len(flat)

    with recorded(model, addresses, add):
        run()
    return {address: total / counts[address] for address, total in totals.items()}


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
