"""Mean ablation: what a component outputs on average, per position and noise level."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ablate2tune.ablation.interventions import hooked, map_tensors
from ablate2tune.errors import UserError


class Means:
    """Mean outputs of components, keyed by address and by the noise level now evaluated.

    Whoever calls the denoiser sets `sigma_index` before each forward, both when means are
    collected and when they replace outputs.
    """

    def __init__(self) -> None:
        """No means yet; one noise level unless the caller says otherwise."""
        self.sigma_index = 0
        self._sums: dict[tuple[str, int], list[Tensor]] = {}
        self._counts: dict[tuple[str, int], int] = {}

    def add(self, address: str, output: Any) -> None:
        """Take a batch into the mean: a tensor or a tuple of tensors, (batch, ...) each."""
        tensors = [output] if isinstance(output, Tensor) else list(output)
        sums = [tensor.detach().float().sum(0) for tensor in tensors]
        key = (address, self.sigma_index)
        if key in self._sums:
            sums = [old + new for old, new in zip(self._sums[key], sums, strict=True)]
        self._sums[key] = sums
        self._counts[key] = self._counts.get(key, 0) + len(tensors[0])

    def replace(self, address: str, output: Any) -> Any:
        """The mean in place of an output, repeated over the batch.

        Raises:
            UserError: nothing was calibrated for this address and noise level, or at other shapes.
        """
        key = (address, self.sigma_index)
        if key not in self._sums:
            raise UserError(
                f"no calibrated mean at noise level {self.sigma_index}",
                where=address,
                mend="collect means over the same addresses and noise levels",
            )
        means = iter(self._sums[key])

        def substitute(tensor: Tensor) -> Tensor:
            mean = next(means) / self._counts[key]
            if mean.shape != tensor.shape[1:]:
                raise UserError(
                    f"calibrated at shape {tuple(mean.shape)}, used at {tuple(tensor.shape[1:])}",
                    where=address,
                    mend="calibrate at the same resolution and prompt length",
                )
            return mean.to(tensor.dtype).expand_as(tensor)

        return map_tensors(substitute, output)


@torch.no_grad()
def collect_means(
    model: nn.Module, addresses: Sequence[str], run: Callable[[Means], None]
) -> Means:
    """Mean outputs of components over calibration examples.

    Args:
        model: the denoiser.
        addresses: components to calibrate.
        run: calls the denoiser on the calibration examples; before each forward it sets
            `sigma_index` of the means that it is given.

    Raises:
        UserError: a component was never called.
    """
    means = Means()

    def adder(address: str):
        return lambda _module, _args, _kwargs, output: means.add(address, output)

    with hooked(model, [(address, adder(address)) for address in addresses]):
        run(means)
    return means
