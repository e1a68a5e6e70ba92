"""Adapters of PEFT that are no LoRA: LoKr and OFT; written as the LoRA of full rank that they are.

So their files are larger than their own formats', and load wherever a LoRA does.
"""

import re
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from peft import LoKrConfig, OFTConfig, PeftConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from ablate2tune.errors import UserError
from ablate2tune.models.adapter_files import attach
from ablate2tune.seeding import seed_for
from ablate2tune.train.adapter import check_linears, check_targets, trainable
from ablate2tune.train.methods.adapter_method import METHODS, AdapterMethod, OnBatch, of_one_rank
from ablate2tune.train.train_config import TrainConfig


class OtherTuner(AdapterMethod):
    """An adapter that PEFT merges into a weight."""

    takes_ranks = False
    plain = False
    reads_weights = True

    @abstractmethod
    def tuner(self, pattern: str) -> PeftConfig:
        """PEFT's configuration for the modules that a pattern names."""

    @staticmethod
    def cost(model: nn.Module, name: str, rank: int) -> int:
        """Not known before it is there.

        Raises:
            UserError: always.
        """
        raise UserError("lokr and oft take no budget", where="train.budget", mend="set train.count")

    def check(self, names: Sequence[str]) -> None:
        """Linears alone.

        Raises:
            UserError: one is a convolution.
        """
        check_linears(self.model, names, self.config.method)

    def inject(self, names: Sequence[str], run: OnBatch) -> list[str]:
        """Put it on the modules, drawn from the seed."""
        wanted = check_targets(self.model, names)
        self.model.requires_grad_(False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(self.seed, "adapter"))
            pattern = "|".join(re.escape(name) for name in wanted)
            attach(self.model, self.tuner(f"(?:{pattern})"))
        modules = self.model.named_modules()
        self._layers = {n: m for n, m in modules if isinstance(m, BaseTunerLayer)}
        if set(self._layers) != set(wanted):
            raise AssertionError(f"injected modules differ: {sorted(self._layers)}")
        for parameter in trainable(self.model).values():
            parameter.data = parameter.data.float()
        return list(self._layers)

    @torch.no_grad()
    def weights(self) -> dict[str, Tensor]:
        """What merging would add, behind or before an identity."""
        found: dict[str, Tensor] = {}
        for name, layer in self._layers.items():
            module: Any = layer
            base = module.get_base_layer()
            kept = base.weight.data
            base.weight.data = kept.float().clone()  # merging changes it in place
            module.merge()
            added = base.weight.data - kept.float()
            module.unmerge()
            base.weight.data = kept
            outputs, inputs = added.shape
            wide = inputs > outputs
            identity = torch.eye(min(inputs, outputs), device=added.device)
            found[f"{name}.lora_A.weight"] = added if wide else identity
            found[f"{name}.lora_B.weight"] = identity if wide else added
        return of_one_rank(found)


class LoKr(OtherTuner):
    """A Kronecker product (Yeh et al. 2023, arXiv:2309.14859)."""

    def tuner(self, pattern: str) -> PeftConfig:
        """As many ranks as `train.rank`, alpha the same or `train.alpha`."""
        alpha: Any = self.config.alpha or self.config.rank
        return LoKrConfig(r=self.config.rank, alpha=alpha, target_modules=pattern)


class Oft(OtherTuner):
    """Rotations of each layer's inputs in blocks (Qiu et al. 2023, arXiv:2306.07280)."""

    @classmethod
    def check_config(cls, config: TrainConfig) -> None:
        """No alpha either.

        Raises:
            UserError: one is set, or what every method refuses.
        """
        super().check_config(config)
        if config.alpha is not None:
            where = f"train.alpha = {config.alpha:g}"
            raise UserError("rotations have no scale", where=where, mend="leave it out")

    def tuner(self, pattern: str) -> PeftConfig:
        """Blocks of `train.rank` inputs."""
        return OFTConfig(r=0, oft_block_size=self.config.rank, target_modules=pattern)


METHODS.add("lokr", LoKr)
METHODS.add("oft", Oft)
