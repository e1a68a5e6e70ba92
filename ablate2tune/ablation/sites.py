"""From an address to the tensors that it stands for: which module's input or output, which part.

A site is one tensor of one module; the part of it that an address means is a region: columns of
the last axis, one stream of an output tuple, or the tokens of one stream.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import nn

from ablate2tune.ablation.streams import TEXT, innermost, joins_text_first, return_names
from ablate2tune.components.catalogue import Catalogue, Component
from ablate2tune.components.discovery import closing_linears
from ablate2tune.components.experts import routed
from ablate2tune.components.heads import Stream
from ablate2tune.components.overrides import BATCH_AXIS
from ablate2tune.components.selections import Selection, parse
from ablate2tune.components.tree import LINEARS, is_language_model, widths, without_adapter
from ablate2tune.errors import UserError


@dataclass(frozen=True)
class Site:
    """One tensor (or tuple of them) of one module, and the part of it that is ablated."""

    address: str
    """The module."""
    side: str
    """Its first "input", its "output", or the name of another argument."""
    columns: tuple[int, ...] | None = None
    """Columns of the last axis; None for all."""
    experts: tuple[int, ...] | None = None
    """Of the weights by which experts are added: those of these."""
    stream: Stream | None = None
    """The stream whose tokens are ablated; None for all tokens."""
    only: Stream | None = None
    """The one stream whose tokens the tensor holds, if it is one tensor of one stream."""
    tokens: str | tuple[int, ...] | None = None
    """Text positions, by name or number; None for all."""
    block: str | None = None
    """The block whose call tells how long the streams are, where the tensor joins them."""
    text_first: bool = True
    """Whether the text precedes the image in a joined tensor."""
    is_block: bool = False
    """Whether the module is a block, whose inputs its outputs continue."""
    batch_axis: int = 0

    @property
    def key(self) -> str:
        """Name of the tensor, for calibration: the same for every region of it."""
        return self.address if self.side == "output" else f"{self.address}:{self.side}"

    @property
    def state_key(self) -> str:
        """Name of a block's streams as they leave it, where `key` is what it adds to them."""
        return f"{self.key}:state"


def sites_of(model: nn.Module, catalogue: Catalogue, address: str) -> list[Site]:
    """The sites of an address.

    Raises:
        UserError: no such component, or it has no such heads, neurons, experts, columns or stream.
    """
    selection = parse(address)
    component = catalogue[selection.path]
    if selection.kind == "heads":
        found = list(_head_sites(component, selection, address))
    elif selection.kind == "experts":
        found = [_expert_site(model, component, selection, address)]
    elif selection.kind == "features":
        if component.level != "block":
            raise UserError("features are of a block's output", where=address, mend="name a block")
        found = [Site(component.address, "output", is_block=True)]
    elif selection.kind is not None:
        found = [_column_site(model, component, selection, address)]
    else:
        module = without_adapter(model.get_submodule(component.address))
        found = [
            Site(
                component.address,
                "output",
                is_block=component.level == "block",
                batch_axis=BATCH_AXIS.get(type(module).__name__, 0),
                only=_only_stream(component, catalogue),
            )
        ]
    if selection.stream is None:
        return found
    placed = [_in_stream(model, component, site, selection, address) for site in found]
    kept = [site for site in placed if site is not None]
    if not kept:
        raise UserError(f"nothing here is of the {selection.stream} stream", where=address)
    return kept


def _head_sites(component: Component, selection: Selection, address: str) -> Iterator[Site]:
    heads = component.heads
    if heads is None:
        raise UserError(f"a {component.role} has no heads", where=address, mend="name an attention")
    if isinstance(heads, str):
        raise UserError(f"its heads cannot be ablated: {heads}", where=address)
    _check(selection.indices, heads.count, "heads", address)
    for site in heads.sites:
        wide = site.width // heads.count
        columns = tuple(h * wide + c for h in selection.indices for c in range(wide))
        yield Site(site.address, site.side, columns, only=site.stream)


def _expert_site(
    model: nn.Module, component: Component, selection: Selection, address: str
) -> Site:
    if component.experts is None:
        raise UserError(
            f"its role is {component.role}, and it has no experts",
            where=address,
            mend="name a mixture of experts",
        )
    if selection.stream is not None:
        raise UserError("experts are ablated for all tokens", where=address, mend="leave @ out")
    holders = routed(model.get_submodule(component.address))
    if len(holders) != 1:
        raise UserError("it cannot be told by which weights its experts are added", where=address)
    ((name, weights),) = holders.items()
    _check(selection.indices, component.experts, "experts", address)
    return Site(f"{component.address}.{name}", weights, experts=selection.indices)


def _column_site(
    model: nn.Module, component: Component, selection: Selection, address: str
) -> Site:
    if selection.kind == "cols":
        module = without_adapter(model.get_submodule(component.address))
        if not isinstance(module, LINEARS):
            raise UserError("columns are of Linear projections", where=address)
        _check(selection.indices, widths(module)[1], "columns", address)
        return Site(component.address, "output", selection.indices)
    if component.role != "feed-forward":
        raise UserError(
            f"its role is {component.role}, which has no neurons", where=address, mend="name an MLP"
        )
    module = model.get_submodule(component.address)
    closing = closing_linears(module)
    if len(closing) != 1:
        raise UserError(
            f"{len(closing)} of its Linears could be the one that reads the neurons", where=address
        )
    ((name, writer),) = closing.items()
    _check(selection.indices, widths(writer)[0], "neurons", address)
    return Site(f"{component.address}.{name}", "input", selection.indices)


def _check(indices: tuple[int, ...], count: int, what: str, address: str) -> None:
    if indices[-1] >= count:
        raise UserError(
            f"{what[:-1]} {indices[-1]} is out of range",
            where=address,
            mend=f"it has {count} {what}, 0 to {count - 1}",
        )


def _only_stream(component: Component, catalogue: Catalogue) -> Stream | None:
    """The stream of a part that is named after one, or whose twin is named after the text."""
    if component.level == "block":
        return None
    name = component.path[-1]
    if TEXT.search(name) or name.startswith("add_") or name == "to_add_out":
        return "text"
    parent = catalogue[component.parent or component.address]
    if parent.role == "attention":
        crosses = TEXT.search(parent.address) or "cross" in parent.address
        crosses = crosses or parent.address.endswith("attn2")
        return "text" if crosses and name in ("to_k", "to_v", "to_key", "to_value") else None
    twins = [child for child in catalogue.children(parent) if child.role == component.role]
    others = [twin.path[-1] for twin in twins]
    return "image" if component.role == "feed-forward" and any(map(TEXT.search, others)) else None


def _in_stream(
    model: nn.Module, component: Component, site: Site, selection: Selection, address: str
) -> Site | None:
    """The site cut down to one stream; None if it holds the other one alone."""
    facts = {"stream": selection.stream, "tokens": selection.tokens}
    if site.only is not None:
        return replace(site, **facts) if site.only == selection.stream else None
    block = model.get_submodule(component.block)
    if is_language_model(model) and selection.tokens is not None:
        return replace(site, **facts, only="text")  # all tokens are text
    try:
        names = return_names(innermost(block), 2)
    except UserError:
        names = ()
    joint = sum(bool(TEXT.search(name)) for name in names) == 1
    if site.is_block:
        if not joint:
            raise UserError("it has one stream", where=address, mend="leave @ out")
        return replace(site, **facts)
    first = joins_text_first(innermost(block))
    if not joint:
        raise UserError(
            "its block does not tell image from text tokens",
            where=address,
            mend="ablate all its tokens, or a part that is named after one stream",
        )
    return replace(site, **facts, block=component.block, text_first=first is not False)
