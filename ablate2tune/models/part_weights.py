"""Parts of a pipeline whose weights are not in memory all the time.

Text encoders and VAE serve while examples are encoded and pictures drawn, the denoiser while it is
trained: what is needed at most is the larger of the two, not both.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import torch
from torch import nn

Read = Callable[[Collection[str]], Mapping[str, nn.Module]]
"""Parts of these names, from the pipeline's files."""
Take = Callable[[nn.Module, nn.Module], set[str]]
"""Takes weights for a part from another of its architecture, in a way of its own; their names."""


class PartWeights:
    """Which parts of a pipeline hold their weights.

    The others keep their shapes, dtypes and device, and are NaN, so that nothing comes of using
    them unnoticed.
    """

    def __init__(
        self, pipe: Any, read: Read | None = None, takes: Mapping[str, Take] | None = None
    ):
        """All are there; without `read` they stay. `takes` is how parts take weights, by name."""
        self._pipe, self._read, self._takes = pipe, read, dict(takes or {})
        self._away: set[str] = set()

    @property
    def parts(self) -> dict[str, nn.Module]:
        """The pipeline's modules."""
        found = sorted(self._pipe.components.items())
        return {name: part for name, part in found if isinstance(part, nn.Module)}

    def drop(self, names: Iterable[str]) -> None:
        """Free the weights of parts, where they can be read again."""
        if self._read is None:
            return
        for name in names:
            _hollow(self.parts[name], None)
            self._away.add(name)

    def fetch(self, names: Iterable[str]) -> None:
        """Read the weights of those parts again that were freed, onto the device they were on."""
        missing = sorted(self._away & set(names))
        if not missing or self._read is None:
            return
        fresh = self._read(missing)
        for name in missing:
            weights = dict(fresh[name].named_parameters())
            take = self._takes.get(name)
            taken = take(self.parts[name], fresh[name]) if take else set[str]()
            for key, parameter in self.parts[name].named_parameters():
                if key in taken:
                    continue
                parameter.data = weights.pop(key).data.to(parameter.device)
        self._away -= set(missing)

    def leave_on_cpu(self, name: str) -> None:
        """Read a part's weights to where they can be divided, onto the CPU, from now on."""

        def take(part: nn.Module, fresh: nn.Module) -> set[str]:
            weights = dict(fresh.named_parameters())
            for key, parameter in part.named_parameters():
                parameter.data = weights[key].data
            return set(weights)

        self._takes[name] = take

    def to(self, device: torch.device | None) -> None:
        """Move all parts to a device; what was freed stays free."""
        for name, part in self.parts.items():
            if name in self._away:
                _hollow(part, device)
            part.to(device)


def _hollow(module: nn.Module, device: torch.device | None) -> None:
    """Replace every parameter by one number that stands for all of its own."""
    for parameter in module.parameters():
        kind = {"dtype": parameter.dtype, "device": device or parameter.device}
        parameter.data = torch.full((), torch.nan, **kind).expand(parameter.shape)
