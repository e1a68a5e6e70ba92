"""Chosen modules in the syntax of other trainers, each a function that registers itself.

Their rules of matching are read from their code (docs/export.md says which versions): what is said
selects exactly the chosen modules, or the lines say what else.
"""

import json
import re
from collections.abc import Callable, Sequence

from torch import nn

from ablate2tune.errors import UserError
from ablate2tune.export.lora_formats import flat_name, natives_of
from ablate2tune.models import Denoiser
from ablate2tune.registry import Registry

Tool = Callable[[Denoiser, Sequence[str], int], list[str]]
"""The lines for a model, its chosen modules and the rank."""
TOOLS: Registry[Tool] = Registry("trainer", "ablate2tune.export", "--targets")


def _listed(model: Denoiser, names: Sequence[str], rank: int) -> list[str]:
    """`--lora_layers` of diffusers' scripts: PEFT takes a name that is equal, or ends in it."""
    _check_suffixes(model, names)
    return [f"--rank {rank} --lora_alpha {rank} --lora_layers {','.join(names)}"]


def _simpletuner(model: Denoiser, names: Sequence[str], rank: int) -> list[str]:
    """`peft_lora_target_modules`, which goes to PEFT as well."""
    _check_suffixes(model, names)
    values = {"lora_type": "standard", "lora_rank": rank, "lora_alpha": rank}
    listed = {**values, "peft_lora_target_modules": list(names)}
    return json.dumps(listed, indent=2).splitlines()


def _ai_toolkit(model: Denoiser, names: Sequence[str], rank: int) -> list[str]:
    """`only_if_contains`: a layer is taken if its full name contains one of the words."""
    whole = model.part == "transformer"
    words = [f"transformer.{name}" if whole else name for name in names]
    for other in sorted(set(_layers(model)) - set(names)):
        for word in words:
            if word in f"{model.part}.{other}":
                raise _inexact("ai-toolkit", word, other)
    return [
        "network:",
        "  type: lora",
        f"  linear: {rank}",
        f"  linear_alpha: {rank}",
        "  network_kwargs:",
        "    only_if_contains:",
        *(f"      - {json.dumps(word)}" for word in words),
    ]


def _onetrainer(model: Denoiser, names: Sequence[str], rank: int) -> list[str]:
    """`layer_filter`: patterns between commas, each searched for in a layer's name."""
    patterns = ",".join(rf"(^|\.){re.escape(name)}$" for name in names)
    values = {"layer_filter": patterns, "layer_filter_preset": "custom", "layer_filter_regex": True}
    ranks = {"lora_rank": rank, "lora_alpha": float(rank)}
    return json.dumps({**values, **ranks}, indent=2).splitlines()


def _sd_scripts(model: Denoiser, names: Sequence[str], rank: int) -> list[str]:
    """`network_reg_dims`: the first pattern found in a layer's name gives its rank, 0 is none.

    Its layers are those of the original code. Where the choice is a part of one, the whole is
    trained there, and a comment says so.
    """
    if model.pattern_network is None:
        raise UserError(
            f"sd-scripts takes no patterns for {type(model.pipe).__name__}",
            where="--targets sd-scripts",
            mend="use another trainer",
        )
    natives = natives_of(model, list(names))
    layers = list(dict.fromkeys(native.name for native in natives.values()))
    everything = [native for name in _layers(model) if (native := model.native(name))]
    lines = []
    for layer in layers:
        parts, chosen = (
            sum(native.name == layer for native in natives_)
            for natives_ in (everything, natives.values())
        )
        if chosen < parts:
            some = f"chosen are {chosen} of its {parts} parts"
            lines.append(f"# {layer} is one layer there; {some}")
    pairs = [f"^{flat_name(layer)}$={rank}" for layer in layers]
    argument = "network_reg_dims=" + ",".join([*pairs, ".*=0"])
    return [
        *lines,
        f"--network_module {model.pattern_network} --network_dim {rank} --network_alpha {rank} "
        f"--network_train_unet_only --network_args '{argument}'",
    ]


def _layers(model: Denoiser) -> list[str]:
    kinds = (nn.Linear, nn.Conv2d)
    return [name for name, module in model.model.named_modules() if isinstance(module, kinds)]


def _check_suffixes(model: Denoiser, names: Sequence[str]) -> None:
    for other in sorted(set(_layers(model)) - set(names)):
        for name in names:
            if other.endswith(f".{name}"):
                raise _inexact("PEFT", name, other)


def _inexact(tool: str, word: str, other: str) -> UserError:
    return UserError(
        f"{tool} would take {other} for {word} as well, which is not chosen", where="--targets"
    )


for _name, _tool in (
    ("ai-toolkit", _ai_toolkit),
    ("sd-scripts", _sd_scripts),
    ("simpletuner", _simpletuner),
    ("onetrainer", _onetrainer),
    ("diffusers", _listed),
):
    TOOLS.add(_name, _tool)
