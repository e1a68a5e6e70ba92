"""What an ablation mode declares; each mode is one file of `modes/` that registers itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

from ablate2tune.ablation.hooks import Call
from ablate2tune.ablation.sites import Site
from ablate2tune.ablation.support.support import Support
from ablate2tune.components.catalogue import Level
from ablate2tune.errors import UserError
from ablate2tune.registry import Registry

LEVELS: tuple[Level, ...] = get_args(Level)
Need = Literal[
    "means", "spreads", "directions", "donors", "patched", "row_seeds", "adapters", "features"
]
"""means, spreads: mean and standard deviation over calibration examples, per position and noise
level. directions: a vector per address. features: a sparse autoencoder per block. row_seeds: a seed
for each row, whatever batch it is in. donors: activations of calibration examples, row by row.
patched: activations of the same examples under their other caption. All these are fields of
`Support`, which says more. adapters: LoRA on the model."""


@dataclass(frozen=True)
class Activation:
    """A tensor that is about to be replaced, and what there is to replace it by."""

    x: Tensor
    """(rows, ..., channels), the rows of one condition. Of a block: what it adds to a stream; or
    the stream as it leaves the block, for modes that act on whole streams."""
    start: Tensor | None
    """Of a block: the stream as it enters; the shape of `x`."""
    index: int
    """Its place among the tensors of its call, as `recorded` hands them out."""
    site: Site
    """Where it is. Whatever a mode does outside the site's region is undone."""
    address: str
    """As the user wrote it: for messages and `Support.directions`."""
    support: Support
    call: Call
    """The module's call, with its arguments."""
    rows: slice
    """Which rows of the call `x` is."""

    def given(self, store: Mapping[str, Sequence[Tensor]], key: str) -> Tensor:
        """The tensor that was recorded for this one under a site's key.

        Raises:
            UserError: there is none, or it has another shape.
        """
        if key not in store:
            raise UserError(
                "nothing was recorded to patch it with",
                where=self.address,
                mend="record the same addresses under the other caption (`recorded`)",
            )
        other = store[key][self.index]
        if other.shape != self.x.shape:
            raise UserError(
                f"donated activations are {tuple(other.shape)}, those replaced "
                f"{tuple(self.x.shape)}",
                where=self.address,
                mend="donate one row per row, at the same resolution and prompt length",
            )
        return other.to(self.x.dtype)


@dataclass(frozen=True)
class Mode:
    """How an activation is replaced, what that takes and where it may be used."""

    becomes: str
    """What the activation becomes, in a few words: for the documentation."""
    replace: Callable[[Activation], Tensor]
    """The replacement, the shape and dtype of `Activation.x`."""
    levels: tuple[Level, ...] = LEVELS
    """Levels that it acts on; "head" stands for every part of a tensor."""
    needs: frozenset[Need] = frozenset()
    """What it needs of `Support`."""
    whole: bool = False
    """Of a block: whether it acts on the streams as they leave it, not on what it adds to them."""
    inside: bool = False
    """Whether it acts on all Linears inside a component, instead of on what the component gives."""
    block_mode: str = "skip"
    """The mode that blocks get where a sweep treats sub-layers by this one."""
    experts: bool = False
    """Whether it acts on experts, by the weights by which what they give is added up."""
    restores: bool = False
    """Whether it puts back what a foil's run lacks instead of taking something away: an impact is
    then what the component restores."""
    screened: bool = False
    """Whether (a' - a) . dL/da estimates it: it moves the activation by an amount that does not
    depend on chance."""
    drawn: bool = False
    """Whether it can be used while pictures are sampled."""
    tried: bool = False
    """Whether it depends on each component's shapes or inputs if it fits, so that a sweep has to
    try it and leaves out by name what it does not fit."""
    taken: str = "component"
    """What is taken away, for people."""
    unbaked: str | None = "no weight can hold it"
    """Why it cannot be written into the weights; None where zeros in all that writes do."""

    @property
    def effect(self) -> str:
        """How an impact is read: the margin is "restored by" or "lost without" the component."""
        return "restored by" if self.restores else "lost without"


NEEDS: frozenset[str] = frozenset(get_args(Need)) - {"adapters"}
"""Needs that a sweep of a model can supply; adapters are a scout's."""
CALIBRATED: frozenset[Need] = frozenset({"means", "spreads", "directions", "donors"})
"""Needs that are taken from calibration examples."""
MODES: Registry[Mode] = Registry("ablation mode", "ablate2tune.ablation.modes")
"""All modes by name."""


def check_drawn(name: str, where: str) -> None:
    """Refuse a mode that is not made for sampled pictures.

    The rows of a sampler's batch are other prompts, and each twice where guidance is on.

    Raises:
        UserError: names those that are.
    """
    if not MODES[name].drawn:
        made = ", ".join(mode for mode in MODES if MODES[mode].drawn)
        raise UserError(
            f"mode {name!r} is not made for sampled pictures",
            where=where,
            mend=f"use one of {made}",
        )
