"""Replacing a region of a module's output or input: some rows, tokens and columns of it."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from ablate2tune.ablation.modes import Mode, channel_mean, projected_out, resampled
from ablate2tune.ablation.sites import Site, Stream
from ablate2tune.ablation.streams import TEXT, skipped_output, stream_names
from ablate2tune.errors import UserError

if TYPE_CHECKING:
    from ablate2tune.ablation.interventions import Support


class Call(NamedTuple):
    """One call of a hooked module, and the value that is about to be replaced."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    value: Any


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


def replaced(
    call: Call,
    site: Site,
    mode: Mode,
    address: str,
    support: "Support",
    lengths: tuple[int, int] | None,
    place: int,
    runs: int,
) -> Any:
    """The value of a call with the site's region replaced; None if the region is not in it.

    Args:
        call: the call.
        site: which part of the value.
        mode: what becomes of it.
        address: as the user wrote it, for messages and to look up a direction.
        support: means, directions, partners and token masks.
        lengths: text and image tokens, where the value joins both streams.
        place: which of the runs of rows is replaced.
        runs: how many runs the batch consists of.

    Raises:
        UserError: the value does not fit what was selected or calibrated.
    """
    before = items(site, call)
    base = skipped_items(site, call) if site.is_block else [None] * len(before)
    streams = item_streams(site, call, len(before))
    after: list[Any] = list(before)
    acted = False
    for index, (old, kept) in enumerate(zip(before, base, strict=True)):
        other = site.stream is not None and streams[index] not in (None, site.stream)
        if not isinstance(old, Tensor) or other or (site.is_block and kept is None):
            continue
        kept = old if kept is None else kept
        # Recorded activations have no place for a stream that ends here.
        known = sum(isinstance(item, Tensor) for item in before[:index])
        x = old.transpose(0, site.batch_axis)
        rows = _rows(len(x), place, runs, address)
        if mode == "skip":
            new = kept.transpose(0, site.batch_axis)[rows]
        elif mode == "trace":
            new = _patched(x[rows], known, site.state_key, address, support)
        elif mode == "input":
            new = _input(site, call, old, address)[rows]
        elif site.is_block:
            start = kept.transpose(0, site.batch_axis)[rows]
            new = start + _operated(mode, x[rows] - start, known, site, address, support)
        else:
            new = _operated(mode, x[rows], known, site, address, support)
        new = _in_region(x[rows], new, streams[index], site, address, support, lengths)
        if new is None:
            continue
        acted = True
        if runs > 1:
            new, part = x.clone(), new
            new[rows] = part
        after[index] = new.transpose(0, site.batch_axis)
    if not acted:
        return None
    if isinstance(call.value, Tensor):
        return after[0]
    return (*after, *call.value[len(after) :])


def item_streams(site: Site, call: Call, count: int) -> list[Stream | None]:
    """The stream of each of a call's `count` items, where there is one per stream."""
    if site.only is not None or count == 1:
        return [site.only] * count
    if site.is_block:
        names = stream_names(call.module, call.value)
        return ["text" if TEXT.search(name) else "image" for name in names]
    # Attentions return (image, text), also where their block returns (text, image).
    return ["image", "text", *[None] * (count - 2)]


def _rows(count: int, place: int, runs: int, address: str) -> slice:
    if count % runs:
        raise UserError(
            f"{count} rows cannot be split over {runs} conditions",
            where=address,
            mend="run one copy of the batch per condition",
        )
    each = count // runs
    return slice(place * each, (place + 1) * each)


def _operated(
    mode: Mode, x: Tensor, index: int, site: Site, address: str, support: "Support"
) -> Tensor:
    if mode == "zero":
        return torch.zeros_like(x)
    if mode == "mean":
        assert support.means is not None  # `ablated_rows` has refused this
        return support.means.mean(site.key, index, x)
    if mode == "patch":
        return _patched(x, index, site.key, address, support)
    if mode == "resample":
        if site.key in support.donated:
            return _donated(x, support.donated[site.key][index], address)
        return resampled(x, support.partners, address)
    if mode == "channel-mean":
        return channel_mean(x)
    direction = support.directions[address]
    if site.columns is None:
        return projected_out(x, direction, address)
    # Only the selected columns take part: the direction lies in their space.
    columns = torch.tensor(site.columns, device=x.device)
    new = x.clone()
    new[..., columns] = projected_out(x[..., columns], direction, address)
    return new


def _patched(x: Tensor, index: int, key: str, address: str, support: "Support") -> Tensor:
    if key not in support.patched:
        raise UserError(
            "nothing was recorded to patch it with",
            where=address,
            mend="record the same addresses under the other caption (`recorded`)",
        )
    return _donated(x, support.patched[key][index], address)


def _donated(x: Tensor, other: Tensor, address: str) -> Tensor:
    if other.shape != x.shape:
        raise UserError(
            f"donated activations are {tuple(other.shape)}, those replaced {tuple(x.shape)}",
            where=address,
            mend="donate one row per row, at the same resolution and prompt length",
        )
    return other.to(x.dtype)


def _input(site: Site, call: Call, output: Tensor, address: str) -> Tensor:
    values = (*call.args, *call.kwargs.values())
    value = next((value for value in values if isinstance(value, Tensor)), None)
    if value is None or value.shape != output.shape:
        shape = None if value is None else tuple(value.shape)
        raise UserError(
            f"its input {shape} has not the shape of its output {tuple(output.shape)}",
            where=address,
        )
    return value.to(output.dtype).transpose(0, site.batch_axis)


def _in_region(
    old: Tensor,
    new: Tensor,
    stream: Stream | None,
    site: Site,
    address: str,
    support: "Support",
    lengths: tuple[int, int] | None,
) -> Tensor | None:
    """`new` inside the site's columns and tokens, `old` outside; (batch, tokens, channels)."""
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
    mask[:, first : first + count] = _positions(site, len(old), count, address, support)
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


def _positions(site: Site, rows: int, count: int, address: str, support: "Support") -> Tensor:
    """Which of a stream's tokens are meant, bool, (rows, tokens)."""
    if site.tokens is None:
        return torch.ones(rows, count, dtype=torch.bool)
    if isinstance(site.tokens, tuple):
        if site.tokens[-1] >= count:
            raise UserError(f"token {site.tokens[-1]} of {count} is out of range", where=address)
        mask = torch.zeros(rows, count, dtype=torch.bool)
        mask[:, list(site.tokens)] = True
        return mask
    mask = support.tokens.get(site.tokens)
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
