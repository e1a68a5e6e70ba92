"""Find the components of a model from its module tree; no table of models.

A stack is a `ModuleList` of one or more modules of one class that hold an attention, or of blocks
of transformers, which need no attention and may be of several classes; where stacks lie within each
other's elements (a UNet's levels, a wrapper per block), the innermost counts. A block's sub-layers
are the topmost modules in it that play a role, projections the Linears and convolutions inside
those.
"""

import re
from collections.abc import Iterator

from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from ablate2tune.components.catalogue import Catalogue, Component, Role
from ablate2tune.components.heads import find_heads, out_projections
from ablate2tune.components.overrides import NO_HEADS, not_residual
from ablate2tune.components.tree import (
    LINEARS,
    children,
    descendants,
    is_language_model,
    parameter_count,
    widths,
    without_adapter,
)
from ablate2tune.errors import UserError

ATTENTION = re.compile(r"(attention|attn)(?!.*processor)", re.IGNORECASE)
FEED_FORWARD = re.compile(
    r"feed_?forward|dense(gated)?act|(^|_)(ff|ffn|mlp)(_|\d|$)", re.IGNORECASE
)
NORM = re.compile(r"norm", re.IGNORECASE)
MODULATION = re.compile(r"(^|_)mod(_|$)|modulat|adaln", re.IGNORECASE)
WRITER = re.compile(r"proj_out|ff_out|(\w+_)?(out|down)_proj|linear_?2|fc2", re.IGNORECASE)
"""Names of bare projections of a block whose output joins the residual stream."""
PROJECTIONS = (*LINEARS, nn.Conv1d, nn.Conv2d, nn.Conv3d)
MIXER = re.compile(
    r"mamba|mixer|recurrent|temporal|mlstm|(^|_)s?conv$|short_?conv|delta_?net", re.IGNORECASE
)
"""Names in transformers of what mixes tokens without an attention."""
EXPERTS = re.compile(r"(^|_)moe(_|$)|moe(block|layer)?$|mlp$", re.IGNORECASE)
"""Names and classes of feed-forwards in transformers that the general rule does not know."""
TO_ENCODER = re.compile(r"(^|_)(encoder_attn|cross_?attention)$")
"""Attentions to an encoder, which a decoder that is a language model of its own never calls."""
HYPER = re.compile(r"hyper_?connection", re.IGNORECASE)
"""Classes that only route the streams between sub-layers."""
EXPERT_COUNTS = ("num_experts", "n_routed_experts", "num_local_experts")


def discover(model: nn.Module) -> Catalogue:
    """The catalogue of a model's blocks, sub-layers and projections.

    It reads the module tree alone, so that a model on the meta device serves as well. Adapters
    change nothing: the addresses, classes and parameters are those without them.

    Raises:
        UserError: the model has no stack of attention blocks, is wrapped by torch.compile, or its
            query, key and value projections are fused, so that ablating `to_q` would do nothing.
    """
    if hasattr(model, "_orig_mod"):
        raise UserError(
            "the model is wrapped by torch.compile, which ignores hooks added later",
            where=type(model._orig_mod).__name__,
            mend="pass the model that was given to torch.compile",
        )
    for address, module in model.named_modules():
        if getattr(module, "fused_projections", False) is True:
            raise UserError(
                "query, key and value projections are fused",
                where=address,
                mend="call unfuse_qkv_projections() first",
            )
    model = without_adapter(model)
    components: list[Component] = []
    alone = is_language_model(model)
    for name, stack in _stacks(model, ""):
        for index, (_, block) in enumerate(children(stack)):
            components += _block_components(block, name, index, alone)
    if not components:
        raise UserError(
            f"{type(model).__name__} has no stack of attention blocks",
            mend="a stack is a ModuleList of blocks of one class that hold an attention",
        )
    return Catalogue(components)


def _stacks(module: nn.Module, path: str) -> Iterator[tuple[str, nn.ModuleList]]:
    for name, child in children(module):
        address = f"{path}.{name}" if path else name
        inner = list(_stacks(child, address))
        if inner:
            yield from inner
        elif isinstance(child, nn.ModuleList) and _is_stack(child):
            yield address, child


def _is_stack(modules: nn.ModuleList) -> bool:
    blocks = [block for _, block in children(modules)]
    if blocks and all(isinstance(block, GradientCheckpointingLayer) for block in blocks):
        return True
    if len({type(block) for block in blocks}) != 1:
        return False
    return any(_is_attention(name, inner) for name, inner in descendants(blocks[0]) if name)


def _is_attention(path: str, module: nn.Module) -> bool:
    """Whether a module's class, or its name and contents, are an attention's."""
    kind = type(module).__name__
    if NORM.search(kind) or NORM.search(path) or HYPER.search(kind):
        return False
    if ATTENTION.search(kind):
        return True
    holds = any(isinstance(inner, nn.Linear) for _, inner in children(module))
    return holds and ATTENTION.search(path.rpartition(".")[2]) is not None


def _block_components(block: nn.Module, stack: str, index: int, alone: bool) -> Iterator[Component]:
    address = f"{stack}.{index}"
    sublayers: list[tuple[str, nn.Module, Role]] = [
        (f"{address}.{name}", child, role)
        for name, child, role in _sublayers(block)
        if not (alone and TO_ENCODER.search(name))
    ]
    inside = {path: tuple(_projections(path, child)) for path, child, _ in sublayers}
    modules = dict(descendants(block, address))
    writers, no_heads = _writers(sublayers), NO_HEADS.get(type(block).__name__)

    def component(path: str, module: nn.Module, parent: str | None, **facts) -> Component:
        kind, parameters = type(module).__name__, parameter_count(module)
        return Component(
            path, kind=kind, parameters=parameters, stack=stack, index=index, parent=parent, **facts
        )

    def linears(path: str) -> tuple[str, ...]:
        return tuple(name for name in inside[path] if isinstance(modules[name], LINEARS))

    yield component(
        address,
        block,
        None,
        level="block",
        role="block",
        linears=tuple(name for path in inside for name in linears(path)),
        norms=tuple(name for name, child in children(block) if NORM.search(type(child).__name__)),
        obstacle=not_residual(block) or (None if writers else "nothing in it is known to write"),
    )
    for path, child, role in sublayers:
        yield component(
            path,
            child,
            address,
            level="sublayer",
            role=role,
            linears=linears(path),
            writes=path in writers,
            heads=(no_heads or find_heads(path, child)) if role == "attention" else None,
            neurons=_neurons(child) if role == "feed-forward" else None,
            experts=_experts(child) if role == "feed-forward" else None,
        )
        for name in inside[path]:
            if name != path:
                own = (name,) if isinstance(modules[name], LINEARS) else ()
                yield component(
                    name, modules[name], path, level="projection", role="projection", linears=own
                )


def _sublayers(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module, Role]]:
    """The topmost modules with a role, with their paths below the block."""
    for name, child in children(module):
        address = f"{path}.{name}" if path else name
        if NORM.search(type(child).__name__) or NORM.search(name) or MODULATION.search(name):
            continue
        role = _role(name, child)
        if role is not None:
            yield address, child, role
        else:
            yield from _sublayers(child, address)


def _role(name: str, module: nn.Module) -> Role | None:
    kind = type(module).__name__
    if isinstance(module, PROJECTIONS):
        return "projection"
    ours = type(module).__module__.startswith("transformers.") and not HYPER.search(kind)
    if not any(_has_weights(inner, ours) for _, inner in descendants(module)):
        return None
    if _is_attention(name, module):
        # T5's sub-layers are called attentions too, but hold a norm and the residual sum.
        wraps = any(_is_attention(inner, child) for inner, child in children(module))
        return None if wraps else "attention"
    if FEED_FORWARD.search(kind) or FEED_FORWARD.search(name):
        return "feed-forward"
    if ours and (EXPERTS.search(kind) or EXPERTS.search(name)):
        return "feed-forward"
    return "mixer" if ours and (MIXER.search(kind) or MIXER.search(name)) else None


def _has_weights(module: nn.Module, fused: bool) -> bool:
    """Whether it is a projection; or, where they may be `fused`, holds several in a parameter."""
    own = any(p.ndim > 2 for p in module.parameters(recurse=False)) if fused else False
    return own or isinstance(module, PROJECTIONS)


def _neurons(module: nn.Module) -> int | None:
    """What the Linear reads that closes a feed-forward."""
    closing = closing_linears(module)
    return widths(next(iter(closing.values())))[0] if len(closing) == 1 else None


def closing_linears(module: nn.Module) -> dict[str, nn.Module]:
    """The Linears of a feed-forward that map the hidden width back to the stream's, by name.

    The stream's width is what the first projection reads; where both widths agree, the last
    projection closes.
    """
    inner = {name: part for name, part in descendants(module) if isinstance(part, PROJECTIONS)}
    parts = list(inner.values())
    if not parts or not isinstance(parts[0], LINEARS):
        return {}
    width, _ = widths(parts[0])
    return {
        name: part
        for name, part in inner.items()
        if isinstance(part, LINEARS)
        and part is not parts[0]
        and widths(part)[1] == width
        and (widths(part)[0] != width or part is parts[-1])
    }


def _experts(module: nn.Module) -> int | None:
    """How many experts a feed-forward routes its tokens to."""
    found = (
        getattr(inner, name, None) for _, inner in descendants(module) for name in EXPERT_COUNTS
    )
    return next((count for count in found if isinstance(count, int) and count > 1), None)


def _writers(sublayers: list[tuple[str, nn.Module, Role]]) -> set[str]:
    """Which sub-layers add to the residual stream.

    Attentions, mixers and feed-forwards do, unless a bare projection of the block takes their
    place: then that one writes, and so do the attentions that have an out-projection of their own.
    """
    mixing = ("attention", "mixer")
    attentions = {path: module for path, module, role in sublayers if role in mixing}
    found = {path for path, _, role in sublayers if role == "feed-forward"}
    if found:
        return found | attentions.keys()
    found = {
        path
        for path, _, role in sublayers
        if role == "projection" and WRITER.fullmatch(path.rpartition(".")[2])
    }
    return found | {p for p, module in attentions.items() if not found or out_projections(module)}


def _projections(address: str, module: nn.Module) -> Iterator[str]:
    if isinstance(module, PROJECTIONS):
        yield address
        return
    for name, child in children(module):
        if not NORM.search(type(child).__name__):
            yield from _projections(f"{address}.{name}", child)
