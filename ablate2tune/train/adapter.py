"""LoRA on exactly the requested modules: injection and initial weights.

PEFT matches target names by suffix ("proj_out" also hits the model's last layer), so the request
goes in as one anchored pattern of full names, and the injected set is compared with it.
"""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from torch import nn

from ablate2tune.errors import UserError, did_you_mean
from ablate2tune.models.adapter_files import NAME, attach
from ablate2tune.models.quantised.frozen_linear import packed_in
from ablate2tune.seeding import torch_generator
from ablate2tune.train.memory.narrow_inputs import keep_narrow


class ParameterCount(NamedTuple):
    """Parameters of the denoiser with its adapter."""

    trainable: int
    total: int

    def __str__(self) -> str:
        return (
            f"trainable params: {self.trainable:,} || all params: {self.total:,} || "
            f"trainable%: {100 * self.trainable / self.total:.4f}"
        )


ADAPTED = (nn.Linear, nn.Conv2d)
"""Layers that an adapter may be put on."""


def check_linears(model: nn.Module, names: Iterable[str], method: str) -> None:
    """Refuse what a method cannot take.

    Raises:
        UserError: a module is no linear layer.
    """
    for name in names:
        if not isinstance(model.get_submodule(name), nn.Linear):
            raise UserError(
                f"{name} is no linear layer",
                where=f"train.method = {method}",
                mend="leave it out, or set train.method=lora",
            )


def check_targets(model: nn.Module, targets: Iterable[str]) -> list[str]:
    """The requested modules without repeats, each checked to be a layer that can be adapted.

    These are Linears, and convolutions of one group.

    Raises:
        UserError: there are none, or a name matches nothing or something that cannot be adapted.
    """
    modules = dict(model.named_modules())
    adaptable = [name for name, module in modules.items() if isinstance(module, ADAPTED)]
    names = list(dict.fromkeys(targets))
    if not names:
        raise UserError("no module to adapt", where="train targets", mend="name at least one")
    for name in names:
        module = modules.get(name)
        if module is None:
            raise UserError(
                f"no such module {name!r}",
                where="train targets",
                mend=did_you_mean(name, adaptable),
            )
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            raise UserError(
                f"{name!r} is a convolution of {module.groups} groups, which have no LoRA",
                where="train targets",
                mend="leave it out",
            )
        if not isinstance(module, ADAPTED):
            inside = [child for child in adaptable if child.startswith(f"{name}.")][:3]
            raise UserError(
                f"{name!r} is a {type(module).__name__}, not a linear layer",
                where="train targets",
                mend="name layers inside it: " + ", ".join(inside) if inside else None,
            )
    return names


def room(model: nn.Module, name: str) -> int:
    """The largest rank that a layer has room for: the smaller of its sides."""
    return min(sides(model, name))


def sides(model: nn.Module, name: str) -> tuple[int, int]:
    """A layer's inputs, of a convolution those of a place, and its outputs."""
    layer = model.get_submodule(name)
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    weight = model.get_parameter(f"{name}.weight")
    return weight[0].numel(), len(weight)


def check_rank(model: nn.Module, names: Iterable[str], rank: int) -> None:
    """Refuse a rank that a layer has no room for: its weight's own rank is the most.

    Raises:
        UserError: it exceeds the smaller side of a layer.
    """
    for name in names:
        most, (inputs, outputs) = room(model, name), sides(model, name)
        if rank > most:
            raise UserError(
                f"rank {rank} is more than {name} can use, which has {inputs} inputs "
                f"and {outputs} outputs",
                where="train.rank",
                mend=f"set it to {most} or less",
            )


def inject(
    model: nn.Module,
    targets: Iterable[str],
    rank: int,
    seed: int,
    ranks: Mapping[str, int] | None = None,
    scale: float = 1.0,
    **more: Any,
) -> list[str]:
    """Freeze the model and attach a float32 LoRA with alpha = rank to exactly these modules.

    `ranks` gives modules ranks of their own; `scale` is alpha / rank; `more` goes to `LoraConfig`.

    A is drawn as PEFT draws it, Kaiming-uniform with a = sqrt(5), but from (seed, module name)
    alone; B is zero, so the model's output is unchanged until the first step.
    Returns the modules in the model's order.

    Raises:
        UserError: a target is no linear layer of the model.
        AssertionError: PEFT adapted another set of modules than was requested.
    """
    names = check_targets(model, targets)
    model.requires_grad_(False)
    pattern = "|".join(re.escape(name) for name in names)
    own = {re.escape(name): of_its_own for name, of_its_own in (ranks or {}).items()}
    alphas = own if scale == 1.0 else {name: scale * value for name, value in own.items()}
    alpha: Any = rank if scale == 1.0 else scale * rank
    attach(
        model,
        LoraConfig(
            r=rank,
            lora_alpha=alpha,
            target_modules=f"(?:{pattern})",
            rank_pattern=own,
            alpha_pattern=alphas,
            **more,
        ),
    )
    adapted = {name: m for name, m in model.named_modules() if isinstance(m, LoraLayer)}
    layers = list(adapted)
    if set(layers) != set(names):
        missing, extra = sorted(set(names) - set(layers)), sorted(set(layers) - set(names))
        raise AssertionError(f"injected modules differ: missing {missing}, not requested {extra}")
    for name in layers:
        down = model.get_parameter(f"{name}.lora_A.{NAME}.weight")
        up = model.get_parameter(f"{name}.lora_B.{NAME}.weight")
        bound = 1 / math.sqrt(down[0].numel())
        drawn = torch.rand(down.shape, generator=torch_generator(seed, f"adapter {name}"))
        down.data = (drawn * 2 * bound - bound).to(down.device)
        up.data = torch.zeros_like(up, dtype=torch.float32)
        keep_narrow(adapted[name])
    return layers


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are trained, by name, in the model's order."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def count_parameters(model: nn.Module) -> ParameterCount:
    """Trainable and all parameters of the model with its adapter."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    total = sum(n for n, _ in sizes) + packed_in(model)
    return ParameterCount(sum(n for n, on in sizes if on), total)
