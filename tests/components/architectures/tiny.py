"""What a tiny random model of one class is made of."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import diffusers
import torch
from torch import Tensor, nn

Inputs = dict[str, Any]
UNREAD_TEXT = "nothing reads the text that the last block returns"


@dataclass(frozen=True)
class Tiny:
    """The smallest configuration of a class in which every stack has blocks, and its inputs."""

    name: str
    """Name of the class in `diffusers`."""
    config: dict[str, Any]
    inputs: Callable[[], Inputs]
    """Arguments of one forward at batch size 1."""
    shared: tuple[str, ...] = ()
    """Arguments that do not grow with the batch, such as position ids."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Why a check cannot hold, by check and, after a colon, stack: "deletion:blocks"."""
    repeat: dict[str, Callable[[Any, int], Any]] = field(default_factory=dict)
    """How the arguments grow whose batch is not the first axis."""

    def build(self) -> nn.Module:
        """The model in eval mode, its weights random.

        Every parameter is drawn again, since zero-initialised gates would make all blocks idle.
        """
        torch.manual_seed(0)
        model = getattr(diffusers, self.name)(**self.config).eval().requires_grad_(False)
        for name, parameter in model.named_parameters():
            scale = 0.1 if parameter.ndim < 2 else max(1, parameter.shape[1:].numel()) ** -0.5
            parameter.normal_(0, scale)
            if "norm" in name and name.endswith("weight") and parameter.ndim == 1:
                parameter += 1
        return model

    def batch(self, rows: int) -> Inputs:
        """The inputs with their one row repeated."""
        torch.manual_seed(1)
        return {name: self._rows(name, value, rows) for name, value in self.inputs().items()}

    def _rows(self, name: str, value: Any, rows: int) -> Any:
        if name in self.shared:
            return value
        if name in self.repeat:
            return self.repeat[name](value, rows)
        if isinstance(value, Tensor):
            return value.repeat(rows, *[1] * (value.ndim - 1)) if value.ndim else value
        return value * rows if isinstance(value, list) else value


def first_tensor(output: Any) -> Tensor:
    """The prediction in a model's output, as one tensor."""
    while not isinstance(output, Tensor):
        if isinstance(output, list):
            return torch.stack(output)
        output = output[0]
    return output
