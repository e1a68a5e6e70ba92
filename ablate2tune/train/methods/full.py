"""The modules themselves are trained, as a full fine-tuning of these alone would.

What is added to a weight is one float32 matrix of its shape, beside an identity that is not
trained: a LoRA whose rank is the smaller side of the layer. So the base stays in its own dtype, and
what is written loads as every LoRA does. Biases stay.
"""

from collections.abc import Sequence

import torch
from torch import nn

from ablate2tune.models.adapter_files import NAME
from ablate2tune.train.adapter import check_linears, check_targets, room, sides
from ablate2tune.train.methods.adapter_method import METHODS, AdapterMethod, OnBatch


class Full(AdapterMethod):
    """Every weight of the modules."""

    takes_ranks = False
    plain = False

    @staticmethod
    def cost(model: nn.Module, name: str, rank: int) -> int:
        """The weight's own size."""
        inputs, outputs = sides(model, name)
        return inputs * outputs

    def check(self, names: Sequence[str]) -> None:
        """Linears alone.

        Raises:
            UserError: one is a convolution.
        """
        check_linears(self.model, names, "full")

    def inject(self, names: Sequence[str], run: OnBatch) -> list[str]:
        """Put a matrix of zeros on each module, beside an identity."""
        wanted = check_targets(self.model, names)
        self.ranks = {name: room(self.model, name) for name in wanted}
        injected = self._inject(wanted)
        for name in injected:
            down, up = (
                self.model.get_parameter(f"{name}.lora_{side}.{NAME}.weight") for side in "AB"
            )
            identity, free = (down, up) if down.shape[0] == down.shape[1] else (up, down)
            identity.data = torch.eye(len(identity), device=identity.device)
            identity.requires_grad_(False)
            free.data = torch.zeros_like(free)
        return injected


METHODS.add("full", Full)
