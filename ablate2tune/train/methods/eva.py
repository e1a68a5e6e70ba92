"""EVA (Paischer et al. 2024, arXiv:2410.07170), as PEFT gives it.

Each module's A begins as the directions that explain most of its inputs' variance, and ranks go
where these explain most: as many in all as `train.rank` on every module, none on some.
"""

import re
from collections.abc import Sequence
from typing import Any

import torch
from peft import EvaConfig, LoraConfig, get_eva_state_dict
from torch import Tensor

from ablate2tune.models.adapter_files import NAME
from ablate2tune.train.adapter import check_targets
from ablate2tune.train.methods.adapter_method import METHODS, AdapterMethod, OnBatch

BATCHES = 16
"""Batches of training whose activations are looked at, again and again until PEFT is content."""


class Eva(AdapterMethod):
    """LoRA that begins where the activations vary, with ranks by explained variance."""

    takes_ranks = False
    looks_first = True

    def inject(self, names: Sequence[str], run: OnBatch) -> list[str]:
        """Look at the activations, and put the adapter where they vary."""
        pattern = "|".join(re.escape(name) for name in check_targets(self.model, names))
        rank = self.config.rank
        asked = LoraConfig(
            r=rank,
            lora_alpha=rank,
            target_modules=f"(?:{pattern})",
            init_lora_weights="eva",
            eva_config=EvaConfig(),
        )

        def forward(_: Any, step: Tensor) -> None:
            run(int(step))

        with torch.no_grad():
            found = get_eva_state_dict(
                self.model,
                [torch.tensor(step) for step in range(1, BATCHES + 1)],
                asked,
                forward_fn=forward,
                prepare_model_inputs_fn=None,
                prepare_layer_inputs_fn=None,
                gather_distributed_inputs=False,
                show_progress_bar=False,
            )
        self.ranks = {name: len(found[name]) for name in names if len(found[name])}
        injected = self._inject(list(self.ranks))
        for name in injected:
            down = self.model.get_parameter(f"{name}.lora_A.{NAME}.weight")
            down.data = found[name].to(down.device, torch.float32).contiguous()
        return injected


METHODS.add("eva", Eva)
