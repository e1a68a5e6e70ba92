"""Addresses of parts of components: `attn[heads=3,7]`, `ff[neurons=0..63]`, `attn@image`.

transformer_blocks.3.attn[heads=3,7]        two heads, in both streams
transformer_blocks.3.attn[heads=0..3]@text  four heads, for the text tokens alone
transformer_blocks.3.ff[neurons=0:256]      hidden neurons; 0:256 leaves 256 out, 0..255 not
model.layers.3.mlp[experts=0,5]             of a mixture of experts
transformer_blocks.3.attn.to_q[cols=0:64]   columns of a projection's output
model.layers.3[features=12,40]              of a sparse autoencoder over the block's output
transformer_blocks.3@image                  what the block does to the image tokens
transformer_blocks.3.attn@tokens=relation   text positions, named by the caller or by number
"""

import re
from dataclasses import dataclass, replace
from typing import Literal, get_args

from ablate2tune.components.heads import Stream
from ablate2tune.errors import UserError, did_you_mean

ADDRESS = re.compile(r"(?P<path>[^\[\]@]+)(?P<slice>\[[^\]]*\])?(?P<marks>(@[^@\[\]]+)*)")
SLICES = ("heads", "neurons", "experts", "cols", "features")
STREAMS: tuple[Stream, ...] = get_args(Stream)


@dataclass(frozen=True)
class Selection:
    """A component, or the part of it that an address names."""

    path: str
    """The component's own address."""
    kind: Literal["heads", "neurons", "experts", "cols", "features"] | None = None
    """What `indices` count; None for all columns."""
    indices: tuple[int, ...] = ()
    stream: Stream | None = None
    """The only stream acted on; None for all."""
    tokens: str | tuple[int, ...] | None = None
    """Text positions: a name that the caller defines per example, or positions from 0 on."""


def parse(address: str) -> Selection:
    """Read an address.

    >>> parse("blocks.3.attn[heads=1,4..6]@text").indices
    (1, 4, 5, 6)

    Raises:
        UserError: it is malformed; the message names the part at fault.
    """
    match = ADDRESS.fullmatch(address)
    if match is None:
        raise UserError(
            "not an address", where=address, mend="write PATH, PATH[heads=3,7] or PATH@image"
        )
    selection = Selection(match["path"])
    if match["slice"]:
        kind, equals, numbers = match["slice"][1:-1].partition("=")
        if kind not in SLICES or not equals:
            raise UserError(
                f"no such slice {match['slice']}", where=address, mend=did_you_mean(kind, SLICES)
            )
        selection = replace(selection, kind=kind, indices=_numbers(numbers, address))
    for mark in match["marks"].split("@")[1:]:
        name, equals, value = mark.partition("=")
        if name == "tokens" and equals and value:
            positions = _numbers(value, address) if value[0].isdecimal() else value
            # Only text has token positions that a caption names.
            selection = replace(selection, stream="text", tokens=positions)
        elif name in STREAMS and not equals and selection.stream in (None, name):
            selection = replace(selection, stream=name)
        else:
            raise UserError(
                f"@{mark} does not fit", where=address, mend="use @image, @text or @tokens=NAME"
            )
    return selection


def _numbers(text: str, address: str) -> tuple[int, ...]:
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:(\.\.|:)\s*(\d+)\s*)?", part)
        if match is None:
            raise UserError(
                f"{part!r} is not a number or a range", where=address, mend="write 3,7 or 0..5"
            )
        first = int(match[1])
        last = first if match[3] is None else int(match[3]) - (match[2] == ":")
        if last < first:
            raise UserError(f"the range {part!r} is empty", where=address)
        found += range(first, last + 1)
    if len(set(found)) < len(found):
        raise UserError("a number comes twice", where=address, mend="name each once")
    return tuple(sorted(found))
