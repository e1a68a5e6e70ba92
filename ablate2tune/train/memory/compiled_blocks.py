"""Blocks that torch.compile makes faster: each by itself, after the adapter is on.

Compiled so, a model takes a fraction of the time to compile that it takes as a whole, and runs as
fast (diffusers' `compile_repeated_blocks`). Blocks before the first adapted one are compiled
without a backward pass; blocks of one class that are adapted alike share what is compiled.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from ablate2tune.errors import UserError, reason
from ablate2tune.train.memory.checkpointing import set_covered

VARIANTS = 8
"""Of a block: with and without gradients or adapter, one row or many, and further sizes."""


def compile_blocks(
    blocks: Sequence[nn.Module], covered: int, backend: str | Callable[..., Any] = "inductor"
) -> None:
    """Let blocks run compiled, from their next call on.

    Args:
        blocks: of the model, with its adapter on.
        covered: how many, from the last one on, keep no activations (`checkpointing.cover`); what
            is computed again is what was compiled.
        backend: torch.compile's.

    A block that cannot be compiled raises a UserError as it is first called.
    """
    # Large, and imported by those alone who compile.
    from torch._dynamo import config
    from torch._dynamo.exc import TorchDynamoException

    def told(compiled: Callable[..., Any], inner: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(inner)
        def forward(*args: Any, **kwargs: Any) -> Any:
            try:
                return compiled(*args, **kwargs)
            except TorchDynamoException as error:
                raise UserError(
                    f"the blocks cannot be compiled here ({reason(error)})",
                    where="train.compile",
                    mend="leave it out",
                ) from error

        return forward

    set_covered(blocks, 0)
    # Blocks share their code, and each may be adapted in its own way.
    limits: Any = config
    limits.recompile_limit = max(limits.recompile_limit, VARIANTS * len(blocks))
    most = max(limits.accumulated_recompile_limit, limits.recompile_limit)
    limits.accumulated_recompile_limit = most
    for block in blocks:
        block.forward = told(torch.compile(block.forward, backend=backend), block.forward)
    set_covered(blocks, covered)
