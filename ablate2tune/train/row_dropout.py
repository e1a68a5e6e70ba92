"""Dropout on an adapter's inputs whose masks follow from (seed, step, picture, module) alone.

So a resumed run, a block that is computed again in the backward pass, a step that is taken in parts
and several processes see the same masks. Outside a training step nothing is dropped.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from ablate2tune.models.adapter_files import NAME
from ablate2tune.seeding import seed_for


class RowDropout(nn.Module):
    """Zeroes a share of each row's numbers and scales up the others (Srivastava et al. 2014)."""

    def __init__(self, rate: float, name: str):
        """`rate` is the share; `name` is the module's."""
        super().__init__()
        self._rate, self._name = rate, name
        self.seeds: Sequence[int] = ()
        """One for each row; none: nothing is dropped."""

    def forward(self, x: Tensor) -> Tensor:
        """`x` is (rows, ...)."""
        if not self.seeds:
            return x
        # Where the first dimension is not the rows' (tokens of a mixture's expert), one mask is
        # drawn for all.
        by_row = len(x) == len(self.seeds)
        masks = [self._mask(x[0] if by_row else x, s) for s in self.seeds[: None if by_row else 1]]
        mask = torch.stack(masks) if by_row else masks[0]
        return x * (mask / (1 - self._rate))

    def _mask(self, x: Tensor, seed: int) -> Tensor:
        generator = torch.Generator(x.device).manual_seed(seed_for(seed, self._name))
        drawn = torch.rand(x.shape, generator=generator, device=x.device)
        return (drawn >= self._rate).float()


def put_dropout(model: nn.Module, rate: float) -> None:
    """Give every LoRA of a model this dropout."""
    for name, layer in model.named_modules():
        if isinstance(layer, LoraLayer):
            layer.lora_dropout[NAME] = RowDropout(rate, name)


@contextmanager
def dropping(model: nn.Module, seeds: Sequence[int]) -> Iterator[None]:
    """A step's forward and backward pass over rows with these seeds; without any, nothing drops."""
    modules = [m for m in model.modules() if isinstance(m, RowDropout)] if seeds else []
    for module in modules:
        module.seeds = seeds
    try:
        yield
    finally:
        for module in modules:
            module.seeds = ()
