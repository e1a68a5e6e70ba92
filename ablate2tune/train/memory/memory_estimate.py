"""How much memory a training step needs, from what autograd is seen to keep for one picture.

With a frozen base nearly all of it is activations, and they depend on where the first adapted
block lies: what comes before it is computed without a graph.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._pytree import tree_leaves


class MemoryEstimate(NamedTuple):
    """Bytes that are held as a step's backward pass begins, by what they are for."""

    weights: int
    """All modules of the pipeline that are in memory."""
    adapter: int
    """What the optimizer holds beside the trained weights: their gradients and moments."""
    activations: int
    """What autograd keeps for one picture."""
    pictures: int
    """Pictures that a process computes at once; one seen under two captions counts twice."""
    smaller: str = "model.height and width, set model.quantize"
    """What to change where it is too much, beside the batch."""
    again: int = 0
    """What a block that is computed again keeps until its gradients are there, for one picture."""

    @property
    def total(self) -> int:
        """All together."""
        return self.weights + self.adapter + self.per_picture * self.pictures

    @property
    def per_picture(self) -> int:
        """What one picture adds."""
        return self.activations + self.again

    def __str__(self) -> str:
        return (
            f"memory: about {_gb(self.total)} GB (weights {_gb(self.weights)}, activations "
            f"{self.pictures} x {_gb(self.per_picture)}, adapter and optimizer {_gb(self.adapter)})"
        )

    def warning(self, available: int | None) -> str | None:
        """What to say where that is more than a device has, in bytes; None where it fits."""
        if available is None or self.total <= available:
            return None
        return (
            f"warning: the device has {_gb(available)} GB and training needs about "
            f"{_gb(self.total)}; set a smaller train.micro_batch, lower {self.smaller}, or adapt "
            "later blocks"
        )


def estimate_memory(
    forward: Callable[[], Tensor],
    weights: Iterable[Tensor],
    trained: Iterable[Tensor],
    pictures: int,
    beside: float = 3,
    covered: Iterable[nn.Module] = (),
) -> MemoryEstimate:
    """What a training step of so many pictures in a process will hold.

    `forward` gives the loss of one picture, also on the meta device, and is run once. `weights` are
    those of all modules that lie on the device, the trained ones among them. `beside` is how many
    tensors of an adapter's size the optimizer holds, the gradient among them (AdamW's are three).
    `covered` are the blocks that keep nothing (`checkpointing.covered_in`): going back, one of them
    at a time is computed again, and the largest counts.
    """
    held, again = list(weights), [0]

    def look(block: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        inner = cast(Any, block.forward).__wrapped__
        inputs = [x for x in tree_leaves((given, named)) if isinstance(x, Tensor)]
        again.append(kept_by_autograd(lambda: inner(*given, **named), [*held, *inputs]))

    handles = [block.register_forward_pre_hook(look, with_kwargs=True) for block in covered]
    try:
        activations = kept_by_autograd(forward, held)
    finally:
        for handle in handles:
            handle.remove()
    return MemoryEstimate(
        weights=sum(min(x.nbytes, x.untyped_storage().nbytes()) for x in held),
        adapter=round(beside * sum(tensor.nbytes for tensor in trained)),
        activations=activations,
        pictures=pictures,
        again=max(again),
    )


def kept_by_autograd(forward: Callable[[], object], held: Iterable[Tensor]) -> int:
    """Bytes of the tensors that autograd keeps for a backward pass, each storage once.

    They are counted and let go, so that nothing but the forward pass itself needs memory. The
    `held` ones are there in any case, and are not counted.
    """
    # Weak references: a storage that is freed meanwhile must not lend its address to another.
    seen = [StorageWeakRef(tensor.untyped_storage()) for tensor in held]
    known = {reference.cdata for reference in seen}
    total = 0

    def count(tensor: Tensor) -> None:
        nonlocal total
        reference = StorageWeakRef(tensor.untyped_storage())
        if reference.cdata not in known:
            known.add(reference.cdata)
            seen.append(reference)
            total += tensor.untyped_storage().nbytes()

    def lost(_: None) -> Tensor:
        raise AssertionError("nothing was kept for a backward pass")

    with torch.enable_grad(), saved_tensors_hooks(count, lost):
        forward()
    return total


def device_memory(device: torch.device) -> int | None:
    """Bytes of memory that a device has in all; None where it does not say."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return None


def _gb(size: int) -> str:
    return f"{size / 1e9:.2g}" if size < 10e9 else f"{size / 1e9:.0f}"
