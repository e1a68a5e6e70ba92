"""What writes to the residual stream of a language model: embeddings, and each sub-layer's end."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from torch import nn

from ablate2tune.components.catalogue import Catalogue, Component
from ablate2tune.components.discovery import closing_linears
from ablate2tune.components.heads import out_projections
from ablate2tune.components.tree import LINEARS, descendants, is_language_model, widths
from ablate2tune.errors import UserError

FUSED = re.compile(r"(^|\.)(down_proj|output_linear\.weight|w2)$")
"""Parameters that hold the last matrices of all experts, (experts, ., .)."""
FUSED_BIAS = re.compile(r"(^|\.)down_proj_bias$")


class Writer(NamedTuple):
    """One weight whose product joins the residual stream."""

    name: str
    """Its parameter's name in the model."""
    weight: nn.Parameter
    bias: nn.Parameter | None
    out_axis: int
    """The axis of `weight` that lies along the stream."""


def stream_width(model: nn.Module) -> int:
    """Channels of a language model's residual stream; 0 of a denoiser, which has several."""
    config: Any = model.config
    return int(config.get_text_config().hidden_size) if is_language_model(model) else 0


def sublayer_writers(model: nn.Module, component: Component) -> list[Writer]:
    """The weights by which a sub-layer writes to the stream.

    Raises:
        UserError: none can be told, or the axis of fused experts along the stream cannot.
    """
    module, width = model.get_submodule(component.address), stream_width(model)
    if isinstance(module, LINEARS):
        return [_of_linear(component.address, module)]
    if component.role == "attention":
        named: dict[str, nn.Module] = dict(out_projections(module))
    elif component.role == "feed-forward":
        named = _feed_forward_ends(module, width)
    else:
        named = {}
    found = [_of_linear(f"{component.address}.{name}", part) for name, part in named.items()]
    found += _fused(component.address, module, width)
    if not found:
        found = [_of_linear(f"{component.address}.{n}", m) for n, m in _last_linear(module, width)]
    if not found:
        raise UserError(
            "it is not known which of its weights write to the residual stream",
            where=component.address,
            mend="ablate it while the model runs (`ablate2tune try`)",
        )
    return found


def _of_linear(name: str, module: nn.Module) -> Writer:
    weight, bias = module.weight, getattr(module, "bias", None)
    assert isinstance(weight, nn.Parameter), name
    return Writer(f"{name}.weight", weight, bias, 0 if isinstance(module, nn.Linear) else 1)


def _feed_forward_ends(module: nn.Module, width: int) -> dict[str, nn.Module]:
    """Closing Linears: its own, or of each expert and shared expert inside."""
    closing = closing_linears(module)
    if closing:
        return closing
    linears = {n: m for n, m in descendants(module) if isinstance(m, LINEARS)}
    return {n: m for n, m in linears.items() if widths(m)[1] == width and widths(m)[0] != width}


def _last_linear(module: nn.Module, width: int) -> Sequence[tuple[str, nn.Module]]:
    linears = [(n, m) for n, m in descendants(module) if isinstance(m, LINEARS)]
    return [(n, m) for n, m in linears if widths(m)[1] == width][-1:]


def _fused(address: str, module: nn.Module, width: int) -> Iterator[Writer]:
    biases = {n: p for n, p in module.named_parameters() if FUSED_BIAS.search(n)}
    for name, parameter in module.named_parameters():
        if parameter.ndim != 3 or not width or not FUSED.search(name):
            continue
        along = [axis for axis in (1, 2) if parameter.shape[axis] == width]
        if len(along) != 1:
            raise UserError(
                f"of the experts' weights {tuple(parameter.shape)} it cannot be told which axis "
                "lies along the stream",
                where=f"{address}.{name}",
            )
        yield Writer(f"{address}.{name}", parameter, biases.get(f"{name}_bias"), along[0])


def embeddings(model: nn.Module, catalogue: Catalogue) -> dict[str, nn.Embedding]:
    """The embeddings outside all blocks that are as wide as the stream, by name.

    Those of tokens, and of positions where they are learnt.
    """
    width, stacks = stream_width(model), [f"{stack}." for stack in catalogue.stacks]
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding)
        and module.embedding_dim == width
        and not any(name.startswith(stack) for stack in stacks)
    }
