"""A loss or a gradient that is no number: the run stops there and names where it came from."""

import math
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ablate2tune.errors import DivergedError
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.train.train_config import TrainConfig


class FiniteCheck:
    """Stops a run before a value that is not finite reaches its weights."""

    def __init__(
        self,
        model: nn.Module,
        adapted: Collection[str],
        checkpoint: Path,
        config: TrainConfig,
        model_config: ModelConfig,
    ):
        """Nothing is looked at yet.

        Args:
            model: with its adapter on.
            adapted: names of its adapted modules, in its order.
            checkpoint: the run's, which stays.
            config: of the run.
            model_config: says what may be changed about the model.
        """
        self._model, self._adapted, self._checkpoint = model, adapted, checkpoint
        self._config, self._model_config = config, model_config

    def loss(self, step: int, name: str, value: float, again: Callable[[], object]) -> None:
        """See that a loss is finite.

        Args:
            step: that it is of.
            name: "loss" or "validation".
            value: the loss.
            again: computes it once more, for the module's sake; called if it is not finite.

        Raises:
            DivergedError: it is not; names the first module whose output is not.
        """
        if math.isfinite(value):
            return
        found = first_output(self._model, self._adapted, again)
        told = f"the first output that is not finite is that of {found}"
        self._stop(step, name, value, told if found else "the output of every module is finite")

    def gradient(self, step: int, norm: float, parameters: Mapping[str, nn.Parameter]) -> None:
        """See that the norm of all gradients is finite, before they are clipped to it.

        Raises:
            DivergedError: it is not; names the first module whose gradient is not.
        """
        if math.isfinite(norm):
            return
        found = first_gradient(parameters, self._adapted)
        told = f"the first adapted module whose gradient is not finite is {found}"
        self._stop(step, "gradient", norm, told if found else "that of each module is finite")

    def _stop(self, step: int, name: str, value: float, told: str) -> None:
        mend = self._model_config.mend_not_finite
        if step:
            # With another rate it is another run, whose folder must be free of this one's weights.
            left = self._checkpoint.parent
            again = f"`rm -r {shlex.quote(str(left))}`, then " if left.exists() else ""
            rate = f"train.learning_rate={self._config.learning_rate / 10:g}"
            mend = f"to start again at a lower rate: {again}the same command with {rate}; or {mend}"
        what = f"the {name} is {value} at step {step}: {told}"
        raise DivergedError(what, where="train", mend=mend)


def first_output(
    model: nn.Module, adapted: Collection[str], again: Callable[[], object]
) -> str | None:
    """The module whose output is the first that is not finite, of those that `again` runs.

    What lies inside an adapted module counts as that module. Whether it was given NaN is said
    beside the name. None where each output is finite.
    """
    found: list[str] = []

    def look(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, given: Any, named: Any, output: Any) -> None:
            if not found and any(not x.isfinite().all() for x in _floats(output)):
                ill = any(x.isnan().any() for x in _floats((given, named)))
                found.append(f"{name}, which is given NaN" if ill else name)

        return hook

    modules = {name: m for name, m in model.named_modules() if _owner(name, adapted) is None}
    modules |= {name: model.get_submodule(name) for name in adapted}
    handles = [
        module.register_forward_hook(look(name or type(model).__name__), with_kwargs=True)
        for name, module in modules.items()
    ]
    try:
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):
            again()
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None


def first_gradient(parameters: Mapping[str, nn.Parameter], adapted: Collection[str]) -> str | None:
    """The module of the first of these parameters whose gradient is not finite.

    None where each is.
    """
    for name, parameter in parameters.items():
        if parameter.grad is not None and not parameter.grad.isfinite().all():
            return _owner(name, adapted) or name
    return None


def _owner(name: str, adapted: Collection[str]) -> str | None:
    """The adapted module that a module or a parameter lies in; None where it lies in none."""
    parts = name.split(".")
    above = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
    return next((whole for whole in above if whole in adapted), None)


def _floats(values: Any) -> Iterable[Tensor]:
    return (x for x in tree_leaves(values) if isinstance(x, Tensor) and x.is_floating_point())
