"""The tensors of a call by the stream they carry, and what a block's would be without it."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ablate2tune.ablation.hooks import Call
from ablate2tune.ablation.sites import Site
from ablate2tune.ablation.streams import TEXT, bound_arguments, stream_names
from ablate2tune.components.heads import Stream
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


def skipped_items(call: Call) -> list[Any]:
    """What a block's `items` would be if it did nothing: its input streams in its return order.

    None for a stream that ends here, as the text does in SD3's last block.

    Raises:
        UserError: the block's outputs cannot be traced to inputs by name, or differ from them in
            shape or dtype.
    """
    where, value = type(call.module).__name__, call.value
    streams = value if isinstance(value, tuple | list) else [value]
    bound = bound_arguments(call.module, call.args, call.kwargs)
    found: list[Any] = []
    for name, after in zip(stream_names(call.module, value), streams, strict=False):
        before = None if after is None else bound.get(name)
        found.append(before)
        if after is None:
            continue
        if not isinstance(before, Tensor) or not isinstance(after, Tensor):
            raise UserError(f"stream {name!r} is not a tensor", where=where)
        if before.shape != after.shape or before.dtype != after.dtype:
            raise UserError(
                f"stream {name!r} enters as {before.dtype} {tuple(before.shape)} and leaves as "
                f"{after.dtype} {tuple(after.shape)}, so the block cannot be skipped",
                where=where,
            )
    return found


def item_streams(site: Site, call: Call, count: int) -> list[Stream | None]:
    """The stream of each of a call's `count` items, where there is one per stream."""
    if site.only is not None or count == 1:
        return [site.only] * count
    if site.is_block:
        names = stream_names(call.module, call.value)
        return ["text" if TEXT.search(name) else "image" for name in names]
    # Attentions return (image, text), also where their block returns (text, image).
    return ["image", "text", *[None] * (count - 2)]
