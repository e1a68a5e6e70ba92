"""What an optimizer is: how it is made, and what it needs."""

from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import NamedTuple

import torch
from torch import nn

from ablate2tune.errors import UserError
from ablate2tune.registry import Registry
from ablate2tune.train.train_config import TrainConfig


class OptimizerKind(NamedTuple):
    """A way to step along gradients, without weight decay: an adapter's zeros mean nothing."""

    make: Callable[[Iterable[nn.Parameter], float], torch.optim.Optimizer]
    """Of float32 parameters on one device, and a learning rate, which each step sets anew."""
    tensors: float
    """Tensors of an adapter's size that it holds beside the weights, the gradient among them."""
    package: str | None = None
    """What has to be installed for it, by the name of import and of pip."""
    devices: tuple[str, ...] = ()
    """The only ones that it works on; none: all."""
    least_rate: float = 0.0
    """The lowest learning rate that makes sense."""


OPTIMIZERS: Registry[OptimizerKind] = Registry(
    "optimizer", "ablate2tune.train.optimizers", "train.optimizer"
)
USUAL = "adamw"


def optimizer_of(config: TrainConfig) -> OptimizerKind:
    """The optimizer of a recipe.

    Raises:
        UserError: there is none of this name.
    """
    return OPTIMIZERS[config.optimizer or USUAL]


def check_optimizer(config: TrainConfig, device: torch.device) -> None:
    """Refuse an optimizer that cannot be had here, before any work.

    Raises:
        UserError: there is no such one, its package is missing, it does not work on the device, or
            the learning rate is none for it.
    """
    kind, name, mend = optimizer_of(config), config.optimizer or USUAL, "or leave it out"
    where = f"train.optimizer = {name}"
    if kind.devices and device.type not in kind.devices:
        what = f"{name} works on {' and '.join(kind.devices)} alone, and this is {device.type}"
        raise UserError(what, where=where, mend="leave it out")
    if kind.package and find_spec(kind.package) is None:
        what = f"{name} needs the package {kind.package}, which is not installed"
        raise UserError(what, where=where, mend=f"`pip install {kind.package}`, {mend}")
    if config.learning_rate < kind.least_rate:
        raise UserError(
            f"{name} finds the size of its steps itself, and multiplies it by the rate",
            where=f"train.learning_rate = {config.learning_rate:g}",
            mend="set it to 1",
        )
