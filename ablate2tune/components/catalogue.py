"""The catalogue of a model's components, each under one address: its dotted module path."""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import Literal

from ablate2tune.components.heads import Heads
from ablate2tune.errors import UserError, did_you_mean

Level = Literal["block", "sublayer", "head", "projection"]
Role = Literal["block", "attention", "mixer", "feed-forward", "head", "projection"]
"""A mixer exchanges information between tokens as an attention does, but by other means: a
state-space model, a recurrence, a convolution."""


@dataclass(frozen=True)
class Component:
    """One part of the denoiser that can be ablated or adapted."""

    address: str
    """Dotted module path, `transformer_blocks.3.attn.to_q`."""
    level: Level
    role: Role
    kind: str
    """Class name of the module."""
    parameters: int
    stack: str
    """Dotted path of the stack (`transformer_blocks`) that holds the block."""
    index: int
    """The block's place in its stack."""
    parent: str | None
    """Address of the component one level up; None for a block."""
    linears: tuple[str, ...]
    """Addresses of the Linear modules inside, in model order, on which an adapter would sit;
    modulation of norms is left out. Of a projection: itself; of a head: those of its attention."""
    writes: bool = False
    """Whether a sub-layer's output is added to the residual stream: zeroing all of a block's
    writers is skipping the block."""
    heads: Heads | str | None = None
    """An attention's heads, or why they cannot be told apart; None for all other parts."""
    neurons: int | None = None
    """Hidden neurons of a feed-forward of one Linear in and one out; None for all other parts."""
    experts: int | None = None
    """Routed experts of a feed-forward, where it has any."""
    norms: tuple[str, ...] = ()
    """Of a block: the names of its norms, which are not ablated."""
    obstacle: str | None = None
    """Why this block or sub-layer cannot be ablated as a whole; None if it can."""

    @property
    def block(self) -> str:
        """Address of the block that this component is or belongs to."""
        return f"{self.stack}.{self.index}"

    @property
    def path(self) -> tuple[str, ...]:
        """The address by levels: (stack, index, sub-layer, projection), as far as it goes.

        >>> Component("a.0.attn.to_out.0", "projection", "projection", "Linear", 9, "a", 0,
        ...           "a.0.attn", ("a.0.attn.to_out.0",)).path
        ('a', '0', 'attn', 'to_out.0')
        """
        nested = dict.fromkeys((self.block, self.parent or self.block, self.address))
        below = (inner.removeprefix(f"{outer}.") for outer, inner in pairwise(nested))
        return (self.stack, str(self.index), *below)


class Catalogue:
    """All components of one model, in model order."""

    def __init__(self, components: Iterable[Component]):
        """Index the components by address."""
        self._components = {component.address: component for component in components}

    def __iter__(self) -> Iterator[Component]:
        return iter(self._components.values())

    def __len__(self) -> int:
        return len(self._components)

    def __contains__(self, address: object) -> bool:
        return address in self._components

    def __getitem__(self, address: str) -> Component:
        """The component at an address.

        Raises:
            UserError: there is none; the message holds near matches.
        """
        if address not in self._components:
            raise UserError("no such component", where=address, mend=self.near(address))
        return self._components[address]

    @property
    def stacks(self) -> dict[str, list[Component]]:
        """Blocks by the name of their stack."""
        runs = groupby(self.blocks, key=lambda block: block.stack)
        return {stack: list(blocks) for stack, blocks in runs}

    @property
    def blocks(self) -> list[Component]:
        """All blocks, stack after stack."""
        return [component for component in self if component.level == "block"]

    def children(self, parent: Component) -> list[Component]:
        """A block's sub-layers, or a sub-layer's projections."""
        return [component for component in self if component.parent == parent.address]

    def linears_of(self, parts: Iterable[Component]) -> list[Component]:
        """A component of level "projection" for each Linear inside some parts, in their order.

        A bare projection of a block, which is a sub-layer as well, is among them.
        """
        names = dict.fromkeys(name for part in parts for name in part.linears)
        return [replace(self[name], level="projection") for name in names]

    def near(self, address: str) -> str:
        """A mend that names the nearest addresses, or the stacks if none is near."""
        if difflib.get_close_matches(address, self._components, n=1, cutoff=0.5):
            return did_you_mean(address, self._components)
        ranges = ", ".join(f"{name}.{{0..{len(b) - 1}}}" for name, b in self.stacks.items())
        return f"blocks are {ranges}"


def heads_of(attention: Component) -> list[Component]:
    """Every head of an attention as a component, `ADDRESS[heads=0]` and so on.

    A head's parameters are its share of the attention's. Heads are not in the catalogue: they are
    slices, not modules.

    Raises:
        UserError: it is no attention, or its heads cannot be told apart.
    """
    heads = attention.heads
    if not isinstance(heads, Heads):
        reason = heads or f"a {attention.role} has no heads"
        raise UserError(reason, where=attention.address, mend="name an attention with heads")
    return [
        replace(
            attention,
            address=f"{attention.address}[heads={head}]",
            level="head",
            role="head",
            parameters=attention.parameters // heads.count,
            parent=attention.address,
            writes=False,
            heads=None,
        )
        for head in range(heads.count)
    ]
