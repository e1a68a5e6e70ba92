"""Processes that hold a model in pieces run it the same number of times, whatever each has to do.

Where the weights are divided (`divided_model`), every pass through the model gathers them block by
block, which takes all processes. But a step's shares need not have as many passes: sizes, retained
pictures and validation's rows differ, and the main process alone draws samples. So before each pass
the processes agree on which kind is next; who has none of that kind makes one all the same, on what
it was last given, and lets go of what comes out.
"""

from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

DONE, BACK, LEARN, LOOK = range(4)
"""What a process wants next: nothing, the backward pass of its last forward one, a forward pass
with a graph, or one without. The highest number goes first: so all processes have their graphs
before the first goes back, and each has one graph at a time."""


class Turns:
    """Keeps the passes of a model in step over all processes."""

    def __init__(self, model: nn.Module, trained: list[nn.Parameter]):
        """From the model's next call on. Its weights are divided already.

        Args:
            model: called as `model(...)`, never with inputs that want gradients.
            trained: what gradients are taken of; each process holds all of it.
        """
        self._model, self._trained = model, trained
        self._given: tuple[tuple[Any, ...], dict[str, Any]] | None = None
        self._lent: list[Tensor] | None = None
        """Outputs of a pass with a graph that was made for others, until they go back."""
        self._lending = self._owes_backward = False
        # Before the hooks of `fully_shard`, which are there already and gather the weights.
        model.register_forward_pre_hook(self._forward, prepend=True, with_kwargs=True)
        model.register_forward_hook(self._await_backward, prepend=True)

    def finish(self) -> None:
        """Make passes for the others until no process has one left."""
        self._until(DONE)

    def _forward(self, _: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        if not self._lending:
            self._given = given, named
            self._until(LEARN if self._learns() else LOOK)

    def _await_backward(self, _: nn.Module, given: Any, output: Any) -> Any:
        output = without_views(output)
        if (outputs := _with_graph(output)) and not self._lending:
            self._owes_backward = True
            torch.autograd.graph.register_multi_grad_hook(outputs, self._backward, mode="any")
        return output

    def _backward(self, _: Tensor) -> None:
        self._owes_backward = False
        self._until(BACK)

    def _learns(self) -> bool:
        """Whether a pass has a graph: not where the adapter is switched off."""
        return torch.is_grad_enabled() and any(p.requires_grad for p in self._trained)

    def _until(self, mine: int) -> None:
        if self._owes_backward and mine in (DONE, LEARN):
            raise AssertionError("a pass with a graph has not gone back: others wait for it")
        device = self._trained[0].device
        while True:
            wanted = torch.tensor(mine, device=device)
            torch.distributed.all_reduce(wanted, torch.distributed.ReduceOp.MAX)
            if (chosen := int(wanted.item())) == mine:
                return
            if mine == BACK:  # FSDP2 takes a forward pass in here for one that is computed again
                raise AssertionError("processes are out of step")
            self._lend(chosen)

    def _lend(self, kind: int) -> None:
        """A pass of this kind, of which nothing is kept."""
        if kind == BACK:
            if self._lent is None:
                raise AssertionError("a backward pass of others without a forward one")
            zeros = [torch.zeros_like(output) for output in self._lent]
            torch.autograd.grad(self._lent, self._trained, zeros, allow_unused=True)
            self._lent = None
            return
        if self._given is None or (kind == LEARN and self._lent is not None):
            raise AssertionError("processes are out of step")
        given, named = self._given
        self._lending = True
        try:
            with torch.set_grad_enabled(kind == LEARN):
                output = self._model(*given, **named)
        finally:
            self._lending = False
        if kind == LEARN:
            self._lent = _with_graph(output)


def without_views(output: Any) -> Any:
    """A module's output, with copies of what are views.

    What follows a view in place takes off the hooks that are put on it, and FSDP2's gather the
    weights for the backward pass.
    """

    def own(x: Any) -> Any:
        return x.clone() if isinstance(x, Tensor) and x.requires_grad and x._is_view() else x

    return tree_map(own, output)


def _with_graph(output: Any) -> list[Tensor]:
    return [x for x in tree_leaves(output) if isinstance(x, Tensor) and x.requires_grad]
