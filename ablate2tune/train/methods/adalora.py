"""AdaLoRA (Zhang et al. 2023, arXiv:2303.10512), as PEFT gives it.

Each module begins with half as much rank again as `train.rank`, as B diag(E) A; what matters least
to the loss is set to zero as training goes on, until `train.rank` is left on average.
"""

import re
from collections.abc import Sequence
from typing import Any

import torch
from peft import AdaLoraConfig
from peft.tuners.adalora import AdaLoraModel
from peft.tuners.adalora.layer import AdaLoraLayer
from torch import Tensor

from ablate2tune.models.adapter_files import NAME
from ablate2tune.seeding import torch_generator
from ablate2tune.train.adapter import check_targets, trainable
from ablate2tune.train.methods.adapter_method import METHODS, AdapterMethod, OnBatch, of_one_rank

BEGINS = 1.5
"""Initial rank over the final one, the paper's."""
SPREAD = 0.02
"""Standard deviation of the first A and B, PEFT's."""
SCORES = ("ipt", "exp_avg_ipt", "exp_avg_unc")
"""What PEFT's allocator knows of each weight's importance."""


class AdaLora(AdapterMethod):
    """LoRA whose ranks are taken away where they matter least."""

    takes_ranks = False
    plain = False

    def inject(self, names: Sequence[str], run: OnBatch) -> list[str]:
        """Put B diag(E) A on the modules; E is zero, so that the model is as it was."""
        wanted = check_targets(self.model, names)
        self.model.requires_grad_(False)
        linears: list[Any] = [self.model.get_submodule(name) for name in wanted]
        most = min(min(layer.in_features, layer.out_features) for layer in linears)
        begin, alpha = min(most, round(BEGINS * self.config.rank)), self.config.alpha
        scale: Any = 1 if alpha is None else alpha / self.config.rank
        config = AdaLoraConfig(
            init_r=begin,
            target_r=min(begin, self.config.rank),
            lora_alpha=begin * scale,
            total_step=self.config.steps,
            target_modules=f"(?:{'|'.join(re.escape(name) for name in wanted)})",
        )
        self._tuner = AdaLoraModel(self.model, {NAME: config}, NAME)
        self._layers = {
            name: layer
            for name, layer in self.model.named_modules()
            if isinstance(layer, AdaLoraLayer)
        }
        for name, layer in self._layers.items():
            generator = torch_generator(self.seed, f"adapter {name}")
            for part in (layer.lora_A[NAME], layer.lora_B[NAME]):
                drawn = SPREAD * torch.randn(part.shape, generator=generator)
                part.data = drawn.to(part.device)
            layer.lora_E[NAME].data.zero_()
        self._state: dict[str, Tensor] = {}
        for kind in SCORES:
            scores = {n: torch.zeros_like(p) for n, p in trainable(self.model).items()}
            setattr(self._tuner.rankallocator, kind, scores)
            self._state |= {f"{kind} {name}": tensor for name, tensor in scores.items()}
        return list(self._layers)

    def add_gradients(self) -> None:
        """Those of PEFT's pull of A and B towards orthogonality."""
        config: Any = self._tuner.peft_config[NAME]
        parts = [
            gram
            for layer in self._layers.values()
            for gram in (
                layer.lora_A[NAME] @ layer.lora_A[NAME].T,
                layer.lora_B[NAME].T @ layer.lora_B[NAME],
            )
        ]
        distances = [torch.linalg.norm(x - torch.eye(len(x), device=x.device)) for x in parts]
        (config.orth_reg_weight * torch.stack(distances).mean()).backward()

    def stepped(self, step: int) -> None:
        """Score the weights, and set to zero what the budget of this step has no room for."""
        allocator = self._tuner.rankallocator
        self._tuner.update_and_allocate(step)
        for kind in SCORES:
            scores = getattr(allocator, kind)
            for name, tensor in scores.items():
                held = self._state[f"{kind} {name}"]
                scores[name] = held.copy_(tensor)

    @property
    def state(self) -> dict[str, Tensor]:
        """The allocator's scores."""
        return self._state

    def weights(self) -> dict[str, Tensor]:
        """E goes into A; what is zero is left out, and the rest padded to the largest rank."""
        found = {}
        with torch.no_grad():
            for name, layer in self._layers.items():
                value = layer.lora_E[NAME]
                kept = (value != 0).flatten()
                scale = layer.scaling[NAME] / (layer.ranknum[NAME] + 1e-5)
                found[f"{name}.lora_A.weight"] = (layer.lora_A[NAME] * value * scale)[kept]
                found[f"{name}.lora_B.weight"] = layer.lora_B[NAME][:, kept]
        return of_one_rank(found)


METHODS.add("adalora", AdaLora)
