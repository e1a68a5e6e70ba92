"""Variants of LoRA that PEFT has and that leave the base as it is: rsLoRA and DoRA."""

from collections.abc import Sequence

from torch import nn

from ablate2tune.train.adapter import sides
from ablate2tune.train.methods.adapter_method import METHODS, AdapterMethod, OnBatch


class RsLora(AdapterMethod):
    """Scaled by alpha / sqrt(rank) (Kalajdzievski 2023, arXiv:2312.03732), so that large ranks
    learn as fast as small ones.
    """

    def inject(self, names: Sequence[str], run: OnBatch) -> list[str]:
        """Put it on the modules."""
        return self._inject(names, use_rslora=True)


class Dora(AdapterMethod):
    """A magnitude for each output beside a direction (Liu et al. 2024, arXiv:2402.09353).

    diffusers and PEFT load it; the other formats have no exact word for it.
    """

    plain = False
    reads_weights = True

    @staticmethod
    def cost(model: nn.Module, name: str, rank: int) -> int:
        """LoRA's and the magnitudes."""
        return AdapterMethod.cost(model, name, rank) + sides(model, name)[1]

    def inject(self, names: Sequence[str], run: OnBatch) -> list[str]:
        """Put it on the modules; their magnitudes are what they are."""
        return self._inject(names, use_dora=True)


METHODS.add("rslora", RsLora)
METHODS.add("dora", Dora)
