"""Where an attention's heads lie: slices of what enters its out-projection.

`out = W_out . concat(head_0, ..., head_n)`, so head h is the columns [h * d, (h + 1) * d) of the
out-projection's input. Two kinds of attention have none of their own: a single-stream block may
feed its attention's raw output, the concatenated heads, to a projection of the block, and a fully
fused attention projects the heads together with the columns of an MLP.
"""

import re
from dataclasses import dataclass
from typing import Literal

from torch import nn

from ablate2tune.components.overrides import MIXED_HEADS
from ablate2tune.components.tree import LINEARS, descendants, widths, without_adapter

COUNTS = ("num_v_heads", "heads", "num_heads", "n_heads", "num_attention_heads")
"""Names under which attention classes keep the number of query heads."""
OUT = re.compile(
    r"to_out(\.0)?|to_add_out|to_out_t|(\w+_)?(out|o)_proj(\.linear)?|o|wo|Wo|dense|out_layer"
    r"|\w+_attn_proj|c_proj"
)
"""Names of out-projections within an attention."""
TEXT = re.compile(r"(^|_)(add|txt|t|context|text)(_|$)")
"""Parts of a name that say: of the text stream."""

Stream = Literal["image", "text"]


@dataclass(frozen=True)
class HeadSite:
    """One tensor whose last axis holds an attention's heads one after the other."""

    address: str
    """The module whose input or output the tensor is."""
    side: Literal["input", "output"]
    width: int
    """Columns that hold heads, from column 0 on; any others belong to a fused MLP."""
    stream: Stream | None
    """The only stream whose tokens pass here; None where both may."""


@dataclass(frozen=True)
class Heads:
    """The heads of one attention."""

    count: int
    """Query heads; under grouped-query attention there are fewer key and value heads."""
    sites: tuple[HeadSite, ...]
    """Ablating a head means acting on its columns at all of these."""


def find_heads(address: str, attention: nn.Module) -> Heads | str:
    """The heads of an attention, or the reason why they cannot be told apart."""
    reason = MIXED_HEADS.get(type(attention).__name__)
    if reason:
        return reason
    counts = [_integer(attention, name) for name in COUNTS]
    counts.append(_integer(getattr(attention, "config", None), "num_attention_heads"))
    count = next(filter(None, counts), None)
    if count is None:
        return "its class does not say how many heads it has"
    projections = out_projections(attention)
    if not projections:
        query = without_adapter(getattr(attention, "to_q", nn.Identity()))
        if not isinstance(query, nn.Linear):
            return "it has neither an out-projection nor a query projection"
        # A raw attention returns (image, text) in joint attention: both outputs hold heads.
        return Heads(count, (HeadSite(address, "output", query.out_features, None),))
    sites = []
    for name, module in projections.items():
        width = _width(attention, module)
        if width % count:
            return f"{width} columns enter {name}, not a multiple of {count} heads"
        stream: Stream | None = "text" if TEXT.search(name.split(".")[0]) else None
        if stream is None and len(projections) > 1:
            stream = "image"
        sites.append(HeadSite(f"{address}.{name}", "input", width, stream))
    return Heads(count, tuple(sites))


def out_projections(attention: nn.Module) -> dict[str, nn.Module]:
    """An attention's out-projections by their names in it."""
    return {
        name: module
        for name, module in descendants(attention)
        if isinstance(module, LINEARS) and OUT.fullmatch(name)
    }


def _integer(module: object, name: str) -> int | None:
    value = getattr(module, name, None)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _width(attention: nn.Module, projection: nn.Module) -> int:
    """Columns of a projection's input that hold heads; a fused MLP's columns follow them."""
    inner, fused = _integer(attention, "inner_dim"), _integer(attention, "mlp_hidden_dim")
    width, _ = widths(projection)
    return min(inner, width) if inner and fused else width
