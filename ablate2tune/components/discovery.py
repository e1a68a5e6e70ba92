"""Find the components of a denoiser from its module tree; no table of models.

A stack is a direct-child `ModuleList` of one or more modules of one class that hold an attention.
A block's sub-layers are its direct children by role, projections the Linears inside those.
"""

import re
from collections.abc import Iterator

from torch import nn

from ablate2tune.components.catalogue import Catalogue, Component, Role
from ablate2tune.errors import UserError

ATTENTION = re.compile(r"(attention|attn)(?!.*processor)", re.IGNORECASE)
FEED_FORWARD = re.compile(r"feed_?forward|(^|_)(ff|ffn|mlp)(_|\d|$)", re.IGNORECASE)
NORM = re.compile(r"norm", re.IGNORECASE)


def discover(model: nn.Module) -> Catalogue:
    """The catalogue of a denoiser's blocks, sub-layers and projections.

    Raises:
        UserError: the model has no stack of attention blocks, or its query, key and value
            projections are fused, so that ablating `to_q` would do nothing.
    """
    _refuse_fused(model)
    components: list[Component] = []
    for name, child in model.named_children():
        if isinstance(child, nn.ModuleList) and _is_stack(child):
            for index, block in enumerate(child):
                components += _block_components(block, name, index)
    if not components:
        raise UserError(
            f"{type(model).__name__} has no stack of attention blocks",
            mend="a stack is a direct-child ModuleList of blocks that hold an attention; "
            "a model wrapped by torch.compile hides it",
        )
    return Catalogue(components)


def _refuse_fused(model: nn.Module) -> None:
    for address, module in model.named_modules():
        if getattr(module, "fused_projections", False) is True:
            raise UserError(
                "query, key and value projections are fused",
                where=address,
                mend="call unfuse_qkv_projections() first",
            )


def _is_stack(modules: nn.ModuleList) -> bool:
    if len({type(module) for module in modules}) != 1:
        return False
    return any(
        ATTENTION.search(type(inner).__name__) for name, inner in modules[0].named_modules() if name
    )


def _block_components(block: nn.Module, stack: str, index: int) -> Iterator[Component]:
    address = f"{stack}.{index}"
    sublayers = [
        (f"{address}.{name}", child, role)
        for name, child in block.named_children()
        if (role := _role(name, child)) is not None
    ]
    inside = {path: tuple(_linears(path, child)) for path, child, _ in sublayers}

    def component(path: str, module: nn.Module, parent: str | None, **facts) -> Component:
        parameters = sum(parameter.numel() for parameter in module.parameters())
        kind = type(module).__name__
        return Component(
            path, kind=kind, parameters=parameters, stack=stack, index=index, parent=parent, **facts
        )

    linears = tuple(name for path, _, _ in sublayers for name in inside[path])
    yield component(address, block, None, level="block", role="block", linears=linears)
    for path, child, role in sublayers:
        yield component(path, child, address, level="sublayer", role=role, linears=inside[path])
        for name in inside[path]:
            if name != path:
                module = block.get_submodule(name.removeprefix(f"{address}."))
                yield component(
                    name, module, path, level="projection", role="projection", linears=(name,)
                )


def _role(name: str, module: nn.Module) -> Role | None:
    kind = type(module).__name__
    if NORM.search(kind) or NORM.search(name):
        return None
    if isinstance(module, nn.Linear):
        return "projection"
    if not any(isinstance(inner, nn.Linear) for inner in module.modules()):
        return None
    if ATTENTION.search(kind) or ATTENTION.search(name):
        return "attention"
    if FEED_FORWARD.search(kind) or FEED_FORWARD.search(name):
        return "feed-forward"
    return None


def _linears(address: str, module: nn.Module) -> Iterator[str]:
    if isinstance(module, nn.Linear):
        yield address
        return
    for name, child in module.named_children():
        if not NORM.search(type(child).__name__):
            yield from _linears(f"{address}.{name}", child)
