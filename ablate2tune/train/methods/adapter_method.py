"""What a method of adapting is: how an adapter begins, what its training adds, how it is written.

Whatever it trains, what is written is a LoRA of one rank (DoRA writes its magnitudes too), which
every tool loads.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from peft import get_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from torch.nn import functional as F

from ablate2tune.errors import UserError
from ablate2tune.models.adapter_files import NAME
from ablate2tune.registry import Registry
from ablate2tune.train.adapter import check_rank, inject, sides
from ablate2tune.train.placements.head_slices import attention_of
from ablate2tune.train.row_dropout import put_dropout
from ablate2tune.train.train_config import TrainConfig

OnBatch = Callable[[int], None]
"""Runs the model on the batch of a training step, without gradients."""


class AdapterMethod:
    """LoRA: two matrices of one rank on each module, and nothing beside the loss."""

    takes_ranks: ClassVar[bool] = True
    """Whether modules may have ranks of their own."""
    plain: ClassVar[bool] = True
    """Whether its A and B are all there is: it takes dropout, and heads of an attention."""
    reads_weights: ClassVar[bool] = False
    """Whether it computes with the weights themselves: not with a base of few bits."""
    looks_first: ClassVar[bool] = False
    """Whether `inject` runs the model."""
    ranks: Mapping[str, int] = {}
    """Those of modules that have one of their own."""

    @staticmethod
    def cost(model: nn.Module, name: str, rank: int) -> int:
        """How many parameters it trains for a module at a rank."""
        return rank * sum(sides(model, name))

    def check(self, names: Sequence[str]) -> None:
        """Refuse modules that it cannot adapt, before anything is encoded.

        Raises:
            UserError: a rank exceeds the smaller side of a layer.
        """
        check_rank(self.model, [n for n in names if n not in self.ranks], self.config.rank)

    @classmethod
    def check_config(cls, config: TrainConfig) -> None:
        """Refuse what the method has no word for.

        Raises:
            UserError: it gives ranks of its own, or takes no dropout.
        """
        mend = "set train.method=lora"
        if config.ranks == "impact" and not cls.takes_ranks:
            what = f"{config.method} gives ranks of its own"
            raise UserError(what, where="train.ranks = impact", mend=mend)
        if config.dropout and not cls.plain:
            where = f"train.dropout = {config.dropout:g}"
            raise UserError(f"{config.method} takes no dropout", where=where, mend=mend)
        heads = next(filter(attention_of, config.modules), None)
        if heads and config.targets == "list" and not cls.plain:
            where = f"train.modules: {heads}"
            raise UserError(f"{config.method} adapts whole layers", where=where, mend=mend)

    def __init__(self, model: nn.Module, config: TrainConfig, seed: int):
        """Nothing is done yet; `seed` fixes the initial weights.

        Raises:
            UserError: what `check_config` raises.
        """
        self.check_config(config)
        self.model, self.config, self.seed = model, config, seed

    def inject(self, names: Sequence[str], run: OnBatch) -> list[str]:
        """Freeze the model and put the adapter on these modules; those that it is on.

        Args:
            names: full names of Linears.
            run: for a method that looks at activations first.

        Raises:
            UserError: what `adapter.inject` raises.
        """
        return self._inject(names)

    def _inject(self, names: Sequence[str], **more: Any) -> list[str]:
        """LoRA with options of PEFT's `LoraConfig`."""
        rank, alpha = self.config.rank, self.config.alpha
        scale = 1.0 if alpha is None else alpha / rank
        injected = inject(self.model, names, rank, self.seed, self.ranks, scale, **more)
        if self.config.dropout:
            put_dropout(self.model, self.config.dropout)
        return injected

    def add_gradients(self) -> None:
        """Add to the gradients what the method asks for beside the loss."""

    def stepped(self, step: int) -> None:
        """Told after each step of the optimizer, before its gradients are gone."""

    @property
    def state(self) -> dict[str, Tensor]:
        """What a checkpoint holds beside the parameters, always the same tensors."""
        return {}

    def weights(self) -> dict[str, Tensor]:
        """The adapter as a LoRA with alpha = rank: MODULE.lora_A.weight and .lora_B.weight."""
        found = dict(get_peft_model_state_dict(self.model, adapter_name=NAME))
        for name, layer in self.model.named_modules():
            if isinstance(layer, LoraLayer) and (scale := layer.scaling[NAME]) != 1.0:
                found[f"{name}.lora_B.weight"] = found[f"{name}.lora_B.weight"] * scale
        return of_one_rank(found)


METHODS: Registry[type[AdapterMethod]] = Registry(
    "way to adapt", "ablate2tune.train.methods", "train.method"
)


def of_one_rank(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same adapter with zeros where a module's rank is below the largest one."""
    ranks = {tensor.shape[0] for name, tensor in weights.items() if ".lora_A." in name}
    if len(ranks) < 2:
        return dict(weights)
    most = max(ranks)

    def padded(name: str, tensor: Tensor) -> Tensor:
        below = (0, 0) * (tensor.ndim - 2)
        if ".lora_A." in name:
            return F.pad(tensor, (*below, 0, 0, 0, most - tensor.shape[0]))
        if ".lora_B." in name:
            return F.pad(tensor, (*below, 0, most - tensor.shape[1]))
        return tensor

    with torch.no_grad():
        return {name: padded(name, tensor.detach()) for name, tensor in weights.items()}


def rank_of(weights: Mapping[str, Any]) -> int:
    """The rank of an adapter whose modules share one."""
    return next(tensor.shape[0] for name, tensor in weights.items() if ".lora_A." in name)
