"""Ablations as changes of weights: computed in float64, stored in the weights' dtype."""

from typing import Any

import torch
from torch import Tensor, nn

from ablate2tune.ablation import MODES, Ablation
from ablate2tune.ablation.sites import sites_of
from ablate2tune.bake.writers import Writer, embeddings, sublayer_writers
from ablate2tune.components import Catalogue, Component
from ablate2tune.components.selections import parse
from ablate2tune.components.tree import LINEARS
from ablate2tune.errors import UserError

RUN = "ablate it while the model runs (`ablate2tune try`)"


def check_bakeable(ablation: Ablation) -> None:
    """Refuse an ablation that no weight can say.

    Raises:
        UserError: by its mode, or because it is of some tokens alone.
    """
    address = ablation.address
    if why := MODES[ablation.mode].unbaked:
        raise UserError(f"mode {ablation.mode!r} cannot be baked: {why}", where=address, mend=RUN)
    if parse(address).stream is not None:
        raise UserError("weights do not tell tokens apart", where=address, mend=RUN)


@torch.no_grad()
def zero_in_weights(model: nn.Module, catalogue: Catalogue, ablation: Ablation) -> list[str]:
    """Set to zero what an ablated part writes; the names of the parameters that changed.

    A head or a neuron is columns of the matrix that reads it, whose bias stays; a sub-layer is the
    matrix and the bias that write; a skipped block is all its writing sub-layers.

    Raises:
        UserError: it is not known which weights write, or the address has none of its own.
    """
    address, selection = ablation.address, parse(ablation.address)
    component = catalogue[selection.path]
    if selection.kind in ("heads", "neurons"):
        return [
            _zero_columns(model, site.address, site.columns or ())
            for site in sites_of(model, catalogue, address)
            if site.side == "input" or _no_such_weight(address)
        ]
    if selection.kind == "experts":
        return _zero_experts(model, catalogue, component, ablation)
    if selection.kind == "cols":
        _ = sites_of(model, catalogue, address)  # refuses columns that are not there
        return _zero_rows(model, component.address, selection.indices)
    if component.level == "projection":
        return _zero_rows(model, component.address, None)
    parts = [component]
    if component.level == "block":
        parts = [part for part in catalogue.children(component) if part.writes]
    changed: list[str] = []
    for part in parts:
        for writer in sublayer_writers(model, part):
            writer.weight.zero_()
            changed.append(writer.name)
            if writer.bias is not None:
                writer.bias.zero_()
                changed.append(f"{writer.name.removesuffix('weight')}bias")
    return changed


def _zero_experts(
    model: nn.Module, catalogue: Catalogue, component: Component, ablation: Ablation
) -> list[str]:
    """What these experts of a mixture write, by the weights that hold all of them."""
    (site,) = sites_of(model, catalogue, ablation.address)  # refuses experts that are not there
    chosen, changed = list(site.experts or ()), []
    for writer in sublayer_writers(model, component):
        if writer.weight.ndim == 3 and len(writer.weight) == component.experts:
            changed.append(writer.name)
            writer.weight[chosen] = 0
            if writer.bias is not None:
                writer.bias[chosen] = 0
                changed.append(f"{writer.name}_bias")
    if not changed:
        raise UserError("no weight holds what its experts write", where=ablation.address, mend=RUN)
    return changed


def _no_such_weight(address: str) -> bool:
    raise UserError("no weight of its own reads its heads", where=address, mend=RUN)


def _zero_columns(model: nn.Module, address: str, columns: tuple[int, ...]) -> str:
    module = model.get_submodule(address)
    weight = module.weight
    assert isinstance(weight, Tensor), "a Linear has a weight"
    if isinstance(module, nn.Linear):
        weight[:, list(columns)] = 0
    else:  # GPT-2's Conv1D holds (in, out)
        weight[list(columns)] = 0
    return f"{address}.weight"


def _zero_rows(model: nn.Module, address: str, rows: tuple[int, ...] | None) -> list[str]:
    module = model.get_submodule(address)
    if not isinstance(module, LINEARS):
        raise UserError("it is no Linear", where=address, mend=RUN)
    chosen = slice(None) if rows is None else list(rows)
    weight, bias = module.weight, module.bias
    assert isinstance(weight, Tensor)
    if isinstance(module, nn.Linear):
        weight[chosen] = 0
    else:
        weight[:, chosen] = 0
    if bias is None:
        return [f"{address}.weight"]
    bias[chosen] = 0
    return [f"{address}.weight", f"{address}.bias"]


@torch.no_grad()
def project_out_of_weights(model: nn.Module, catalogue: Catalogue, direction: Tensor) -> list[str]:
    """Take a direction out of everything that writes to the residual stream.

    For a unit v: W - v(v'W) and b - v(v'b) of each writer, E - (Ev)v' of embeddings. A head that
    was tied to the token embedding is untied first, since it reads and must stay as it is.

    Args:
        model: a causal language model.
        catalogue: its components.
        direction: (channels,), of any length.

    Returns:
        Names of the parameters that changed.

    Raises:
        UserError: what `sublayer_writers` raises.
    """
    v = direction.double() / direction.double().norm()
    untie(model)
    changed = []
    for name, module in embeddings(model, catalogue).items():
        _project(module.weight, v, 1)
        changed.append(f"{name}.weight")
    for writer in all_writers(model, catalogue):
        _project(writer.weight, v, writer.out_axis)
        changed.append(writer.name)
        if writer.bias is not None:
            _project(writer.bias, v, writer.bias.ndim - 1)
            changed.append(f"{writer.name.removesuffix('weight')}bias")
    return changed


def all_writers(model: nn.Module, catalogue: Catalogue) -> list[Writer]:
    """The writers of all sub-layers that write."""
    parts = [part for part in catalogue if part.level == "sublayer" and part.writes]
    return [writer for part in parts for writer in sublayer_writers(model, part)]


def _project(weight: Tensor, v: Tensor, axis: int) -> None:
    along = v.to(weight.device)
    wide = weight.double().movedim(axis, -1)
    wide = wide - (wide @ along)[..., None] * along
    weight.copy_(wide.movedim(-1, axis))


@torch.no_grad()
def untie(model: nn.Module) -> bool:
    """Give a tied head a weight of its own; whether it was tied."""
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()  # type: ignore
    if head is None or embedding is None or head.weight is not embedding.weight:
        return False
    head.weight = nn.Parameter(embedding.weight.detach().clone(), requires_grad=False)
    config: Any = model.config
    for part in {id(c): c for c in (config, config.get_text_config())}.values():
        part.tie_word_embeddings = False
    return True
