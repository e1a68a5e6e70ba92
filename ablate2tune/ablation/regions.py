"""Replacing a region of a module's output or input: some rows, tokens and columns of it."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ablate2tune.ablation.hooks import Call
from ablate2tune.ablation.sites import Site, Stream
from ablate2tune.ablation.streams import TEXT, skipped_output, stream_names
from ablate2tune.errors import UserError


def map_tensors(function: Callable[[Tensor], Tensor], output: Any) -> Any:
    """Apply a function to a module's output tensor, or to each tensor of its output tuple."""
    if isinstance(output, Tensor):
        return function(output)
    return tuple(function(x) if isinstance(x, Tensor) else x for x in output)


def items(site: Site, call: Call) -> list[Any]:
    """The tensors of a value that carry a stream; what else a tuple holds is never replaced."""
    if isinstance(call.value, Tensor):
        return [call.value]
    if site.is_block:
        return list(call.value[: len(stream_names(call.module, call.value))])
    # In transformers, an attention's weights and position biases follow its output.
    own = type(call.module).__module__.startswith("transformers.")
    return list(call.value[:1] if own else call.value)


def skipped_items(site: Site, call: Call) -> list[Any]:
    """What each of a block's `items` would be if the block did nothing."""
    skipped = skipped_output(call.module, call.args, call.kwargs, call.value)
    if skipped is None or isinstance(skipped, Tensor):
        return [skipped]
    return list(skipped[: len(items(site, call))])


def item_streams(site: Site, call: Call, count: int) -> list[Stream | None]:
    """The stream of each of a call's `count` items, where there is one per stream."""
    if site.only is not None or count == 1:
        return [site.only] * count
    if site.is_block:
        names = stream_names(call.module, call.value)
        return ["text" if TEXT.search(name) else "image" for name in names]
    # Attentions return (image, text), also where their block returns (text, image).
    return ["image", "text", *[None] * (count - 2)]


def in_region(
    old: Tensor,
    new: Tensor,
    stream: Stream | None,
    site: Site,
    address: str,
    tokens: Mapping[str, Tensor],
    lengths: tuple[int, int] | None,
) -> Tensor | None:
    """`new` inside the site's columns and tokens, `old` outside; None if the region is not here.

    Args:
        old: (batch, tokens, channels), or without tokens where the site takes all of them.
        new: the shape of `old`.
        stream: the stream whose tokens the tensor holds, if it is one.
        site: the region.
        address: as the user wrote it, for messages.
        tokens: token masks by name, as in `Support`.
        lengths: text and image tokens, where the tensor joins both streams.

    Raises:
        UserError: the tensor does not fit what was selected.
    """
    if site.columns is not None:
        mask = torch.zeros(old.shape[-1], dtype=torch.bool, device=old.device)
        mask[list(site.columns)] = True
        new = torch.where(mask, new, old)
    if site.stream is None or (stream is not None and site.tokens is None):
        return new
    first, count = 0, old.shape[1]
    if stream is None:
        span = _span(site, count, lengths, address)
        if span is None:
            return None
        first, count = span
    mask = torch.zeros(len(old), old.shape[1], dtype=torch.bool, device=old.device)
    mask[:, first : first + count] = _positions(site, len(old), count, address, tokens)
    return torch.where(mask[(...,) + (None,) * (old.ndim - 2)], new, old)


def _span(
    site: Site, count: int, lengths: tuple[int, int] | None, address: str
) -> tuple[int, int] | None:
    """First token and number of tokens of the site's stream in a tensor of `count` tokens.

    The tensor joins both streams, or holds one of them: some blocks call one module for each
    stream in turn. None if it holds the other one.
    """
    if lengths is None:
        raise UserError(
            "its block was called with both streams in one tensor",
            where=address,
            mend="ablate all its tokens",
        )
    text, image = lengths
    if count == text + image:
        if site.stream == "text":
            return (0 if site.text_first else image), text
        return (text if site.text_first else 0), image
    if text != image and count in lengths:
        return (0, count) if (count == text) == (site.stream == "text") else None
    raise UserError(
        f"of {text} text and {image} image tokens, its {count} cannot be told apart",
        where=address,
    )


def _positions(
    site: Site, rows: int, count: int, address: str, tokens: Mapping[str, Tensor]
) -> Tensor:
    """Which of a stream's tokens are meant, bool, (rows, tokens)."""
    if site.tokens is None:
        return torch.ones(rows, count, dtype=torch.bool)
    if isinstance(site.tokens, tuple):
        if site.tokens[-1] >= count:
            raise UserError(f"token {site.tokens[-1]} of {count} is out of range", where=address)
        mask = torch.zeros(rows, count, dtype=torch.bool)
        mask[:, list(site.tokens)] = True
        return mask
    mask = tokens.get(site.tokens)
    if mask is None:
        raise UserError(
            f"nobody said where the tokens {site.tokens!r} are",
            where=address,
            mend="pass Support(tokens={name: mask})",
        )
    if mask.shape != (rows, count):
        raise UserError(
            f"the token mask is {tuple(mask.shape)}, the text {(rows, count)}", where=address
        )
    return mask.bool()
